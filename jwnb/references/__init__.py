"""Which reference files an exposure gets, and opening them.

One chain answers for each reference type: what the caller gave; what `use` overrides; a pinned offline set, if one is in
force; CRDS.
"""

from jwnb.references.active import use
from jwnb.references.offline import Entry, OfflineSet, offline_set, write_offline_set
from jwnb.references.opening import cache
from jwnb.references.resolver import Resolved, prefetch, resolve

__all__ = ["Entry", "OfflineSet", "Resolved", "cache", "offline_set", "prefetch", "resolve", "use", "write_offline_set"]
