from . import shards as shards
from .shards import ImageShards as ImageShards
from .store import Store as Store
