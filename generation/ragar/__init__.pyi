from . import fixed_shape as fixed_shape
from . import retrieval as retrieval
from .config import RagarConfig as RagarConfig
from .pipeline import RagarPipeline as RagarPipeline
from .ragar import Ragar as Ragar
from .reflection import reflect as reflect
from .reflection_config import ReflectionConfig as ReflectionConfig
from .warm_start import warm_start as warm_start
