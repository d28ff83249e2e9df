"""Train and evaluate 3D CNNs on a store of prepared chest CTs.

Importing the package imports nothing heavy: each public name is loaded on its first use.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
