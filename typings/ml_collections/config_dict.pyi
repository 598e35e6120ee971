from typing import Any

from ml_collections import ConfigDict as ConfigDict

def placeholder(field_type: type, required: bool = ...) -> Any: ...
