"""Network namespaces of a test's own."""

from __future__ import annotations

import os

# Root needs no user namespace, which a chroot and many containers refuse.
APART = ["unshare", "-n"] if hasattr(os, "geteuid") and os.geteuid() == 0 else ["unshare", "-rn"]
