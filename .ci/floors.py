"""Print the oldest versions that pyproject.toml allows, as pip takes them; a short suite runs on exactly these."""

import tomllib
from pathlib import Path

project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
extras = project["optional-dependencies"]
wanted = [*project["dependencies"], *(each for name in ("codecs", "fast", "report") for each in extras[name])]
wanted += [each for each in extras["test"] if each.startswith(("hypothesis", "pytest>="))]
print(*sorted({each.replace(">=", "==") for each in wanted}))
