"""Print the reference of the manifest, for the documentation."""

import sys

from ._reference import reference

sys.stdout.write(reference())
