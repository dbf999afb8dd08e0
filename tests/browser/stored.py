"""A notebook as it is stored: what a reader without a kernel sees."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

#: Milliseconds after the last change until the stored copy has followed.
STILL = 1500


@contextmanager
def stored_copy(lab: Any, page: Any, written: str) -> Iterator[Any]:
    """Saves the notebook shown, waits until its file holds `written` (in any case), and gives the static copy on a page
    without a network.
    """
    import nbformat
    from nbconvert import HTMLExporter

    copies = page.locator("[class*=mnemoscope-static]")
    assert copies.count() == 1 and not copies.is_visible(), "the static copy is hidden beside the live view"
    page.wait_for_timeout(STILL)
    page.keyboard.press("Escape")
    page.get_by_role("menuitem", name="File", exact=True).click()
    page.locator(".lm-Menu-item[data-command='docmanager:save']").click()
    path = max(lab.folder.glob("*.ipynb"), key=lambda p: p.stat().st_mtime)
    for _ in range(50):
        if written.lower() in path.read_text().lower():
            break
        page.wait_for_timeout(200)
    html, _ = HTMLExporter(template_name="lab").from_notebook_node(nbformat.read(path, as_version=4))
    reader = page.context.new_page()
    reader.route("**/*", lambda route: route.abort())
    reader.set_content(html, wait_until="domcontentloaded")
    yield reader.locator("[class*=mnemoscope-static]")
    reader.close()
