"""What listens to a training: `Trainer(..., callbacks=[...])`."""

from .callback import Callback
from .checkpoints import Checkpoints
from .early_stopping import EarlyStopping
from .limits import TimeLimit
from .logs import CSVLog, JSONLinesLog, LearningRateLog, TensorBoardLog

__all__ = [
    "CSVLog",
    "Callback",
    "Checkpoints",
    "EarlyStopping",
    "JSONLinesLog",
    "LearningRateLog",
    "TensorBoardLog",
    "TimeLimit",
]
