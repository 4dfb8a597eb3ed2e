"""The golden renders: a few templates under the values of the chart's ci/, as a reviewer reads them.

`python -m tests.chart.golden` rewrites them; then read the diff. A case is a file, `<values>.<template>.yaml`. Adding one needs no code.
"""

import re
from pathlib import Path

from tests.chart.conftest import template
from tests.chart.tools import CHART

CASES = sorted(Path(__file__).parent.glob("*.yaml"))


def render(case: Path) -> str:
    """What the case's template gives now."""
    values, name = case.stem.split(".")
    text = template("--values", str(CHART / "ci" / f"{values}-values.yaml"), "--show-only", f"templates/{name}.yaml")
    return re.sub(r"\n{2,}(?=---\n|\Z)", "\n", text)  # how many empty lines end a manifest differs from one helm to the next


if __name__ == "__main__":
    for case in CASES:
        case.write_text(render(case))
