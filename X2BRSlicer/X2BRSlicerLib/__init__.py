"""What the module is made of: `nodes` speak with the scene, `operations` with the core, `tabs` with the user.

Importing it makes the core importable. Of the core, only what needs nothing but NumPy is imported at file scope.
"""

from .core import addCoreToPath

addCoreToPath()
