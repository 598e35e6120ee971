from typing import Any

from absl.flags import FlagHolder
from ml_collections import ConfigDict

def DEFINE_config_dict(name: str, config: ConfigDict, **options: Any) -> FlagHolder: ...
def DEFINE_config_file(name: str, default: Any = ..., **options: Any) -> FlagHolder: ...
