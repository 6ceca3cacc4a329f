"""A bundler for people without one: joins `src/*.js` into `dist/bundle.js`, by the settings of `bundle.json`."""

import json
import re
from pathlib import Path


def main() -> None:
    settings = json.loads(Path("bundle.json").read_text(encoding="utf-8"))
    text = "\n".join(path.read_text(encoding="utf-8") for path in sorted(Path("src").glob("*.js")))
    if settings["drop_comments"]:
        text = re.sub(r"^\s*(?://.*|/\*.*?\*/)\s*$", "", text, flags=re.MULTILINE)  # whole lines only: strings stay whole
    if settings["drop_indent"]:
        text = re.sub(r"^[ \t]+", "", text, flags=re.MULTILINE)
    if settings["drop_empty_lines"]:
        text = re.sub(r"\n\s*\n+", "\n", text)
    Path("dist").mkdir(exist_ok=True)
    Path("dist/bundle.js").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
