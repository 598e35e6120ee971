from collections.abc import Iterable

class Summary:
    class Image:
        def __init__(
            self,
            *,
            height: int = ...,
            width: int = ...,
            colorspace: int = ...,
            encoded_image_string: bytes = ...,
        ) -> None: ...

    class Value:
        def __init__(
            self,
            *,
            tag: str = ...,
            simple_value: float = ...,
            image: Summary.Image = ...,
        ) -> None: ...

    def __init__(self, *, value: Iterable[Value] = ...) -> None: ...
