"""Sphinx: what `python docs/build.py` builds with. Nothing is run, nothing is fetched, a warning is an error."""

import lens

project, author, release = "Mnemoscope", "The Mnemoscope authors", lens.__version__
copyright = author
extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
    "docstrings",
    "mathml",
    "navigation",
]
exclude_patterns = ["_extensions", "**/results/**", "**/.ipynb_checkpoints"]

# stored notebooks are shown as they are: not one cell runs, whether it has an output or not
nb_execution_mode = "off"
# widgets are shown by their static copy; the scripts of live ones would come from elsewhere
nb_ipywidgets_js = {}
nb_merge_streams = True
nb_number_source_lines = False
# what a notebook writes is HTML where it has it, then a picture, then text
nb_mime_priority_overrides = [
    ("html", "text/html", 1),
    ("html", "image/png", 2),
    ("html", "image/svg+xml", 3),
    ("html", "text/plain", 9),
]
myst_enable_extensions = ["dollarmath", "deflist", "colon_fence", "attrs_inline"]
myst_heading_anchors = 3
myst_update_mathjax = False
html_math_renderer = "mathml"

default_role = "code"
autodoc_member_order = "groupwise"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
autodoc_class_signature = "mixed"
maximum_signature_line_length = 90
napoleon_numpy_docstring = False
napoleon_use_rtype = False
# what is returned is told in sentences, not as a type and a text; attributes are told, and not documented twice
napoleon_custom_sections = [
    ("Returns", "notes_style"),
    ("Attributes", "params_style"),
    ("Cost", "notes_style"),
    ("Source", "notes_style"),
    ("Sources", "notes_style"),
]
toc_object_entries_show_parents = "hide"
python_use_unqualified_type_names = True

html_theme = "furo"
html_title = f"Mnemoscope {release}"
html_static_path = ["_static"]
html_css_files = ["mnemoscope.css"]
html_show_copyright = False
html_copy_source = False
html_show_sourcelink = False
html_theme_options = {"navigation_with_keys": True}
pygments_style = "friendly"
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True
