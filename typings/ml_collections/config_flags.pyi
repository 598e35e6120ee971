from typing import Any

from absl.flags import FlagHolder

def DEFINE_config_file(name: str, default: Any = ..., **options: Any) -> FlagHolder: ...
