"""A button that saves an SVG as a PNG, made in the browser: it has fonts for every language, the server may have none."""

import streamlit as st

_HTML = """<button type="button"></button>"""
_CSS = """
button { font: inherit; color: inherit; background: transparent; border: 1px solid var(--st-border-color, #d0d5dd);
  border-radius: var(--st-button-radius, 0.5rem); padding: 0.35rem 0.75rem; min-height: 2.5rem; cursor: pointer; }
button:hover { color: var(--st-primary-color, #3f7fe0); border-color: var(--st-primary-color, #3f7fe0); }
"""
_JS = """
export default function ({ data, parentElement }) {
  const button = parentElement.querySelector("button");
  button.textContent = data.label;
  button.onclick = () => {
    const image = new Image();
    image.onload = () => {
      const canvas = document.createElement("canvas");
      // Twice as fine, but no larger than what browsers can hold.
      const scale = Math.min(2, 16000 / image.height);
      canvas.width = image.width * scale;
      canvas.height = image.height * scale;
      canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
      canvas.toBlob((blob) => {
        const link = document.createElement("a");
        link.href = URL.createObjectURL(blob);
        link.download = data.file;
        link.click();
        setTimeout(() => URL.revokeObjectURL(link.href), 10000);
      }, "image/png");
    };
    image.src = "data:image/svg+xml;charset=utf-8," + encodeURIComponent(data.svg);
  };
}
"""


def png_button(svg: str, file: str, label: str) -> None:
    """Draw the button; a click saves `svg` as the PNG `file`."""
    button = st.components.v2.component("png_button", html=_HTML, css=_CSS, js=_JS)
    button(data={"svg": svg, "file": file, "label": label}, key="png_button", height="content", width="content")
