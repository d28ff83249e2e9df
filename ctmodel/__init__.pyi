from .errors import CTModelError as CTModelError
from .prediction.evaluate import Evaluation as Evaluation
from .prediction.evaluate import evaluate as evaluate
from .prediction.predict import Prediction as Prediction
from .prediction.predict import predict as predict
from .settings import TrainSettings as TrainSettings
from .training.train import RunResult as RunResult
from .training.train import train as train
