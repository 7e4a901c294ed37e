"""Metadata of a release that depends on where the repository is hosted.

``EQUILIF_URL`` is the address of the repository, without a slash at its end; .github/workflows/release.yml
sets it.  With it, the package gets its project URLs, and links of the README lead to files of this version.
Without it there are no project URLs, and links to files become plain text.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

#: Markdown link or image whose target is neither an address nor an anchor
RELATIVE = re.compile(r"(!?)\[([^\]]*)\]\((?![a-z]+:|#)([^)]*)\)")
COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)


def readme(text: str, url: str, version: str) -> str:
    """The README with links that work where the package index shows it; ``url`` may be empty."""

    def link(found: re.Match[str]) -> str:
        image, name, target = found.groups()
        if not url:
            return "" if image else name
        return f"{image}[{name}]({url}/{'raw' if image else 'blob'}/v{version}/{target})"

    return RELATIVE.sub(link, COMMENT.sub("", text))


def project_urls(url: str, version: str) -> dict[str, str]:
    """Project URLs by their well-known labels."""
    if not url:
        return {}
    tree = f"{url}/blob/v{version}"
    return {
        "Homepage": url,
        "Documentation": f"{tree}/docs/README.md",
        "Source": url,
        "Issues": f"{url}/issues",
        "Changelog": f"{tree}/CHANGELOG.md",
    }


class CustomMetadataHook(MetadataHookInterface):
    """Fills ``readme`` and ``urls`` of pyproject.toml."""

    def update(self, metadata: dict[str, Any]) -> None:
        url = os.environ.get("EQUILIF_URL", "")
        text = (Path(self.root) / "README.md").read_text()
        version = metadata["version"]
        metadata["readme"] = {"content-type": "text/markdown", "text": readme(text, url, version)}
        metadata["urls"] = project_urls(url, version)
