"""From folders of chest CTs to one store of prepared volumes.

Importing the package imports nothing heavy: each public name is loaded on its first use.

>>> import ctprep
>>> ctprep.Recipe(shape=(64, 64, 32)).dtype
'float16'
"""

import lazy_loader

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
