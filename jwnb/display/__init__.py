"""How models and products show themselves: notebook cards and figures."""

import io
from typing import Any

__all__ = ["register"]


def register(shell: Any) -> None:
    """Let a running IPython show the standard models as cards.

    The models are foreign classes, so this goes through IPython's formatter: no wrapper, no patching, no import of
    stdatamodels before one is shown.
    """

    def card(model: Any) -> str:
        from jwnb.display.cards import model_card

        return model_card(model)

    def text(model: Any, printer: Any, cycle: bool) -> None:  # noqa: FBT001 - IPython's signature
        from jwnb.display.cards import model_text

        printer.text("…" if cycle else model_text(model))

    def picture(figure: Any) -> bytes:
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=90)
        return buffer.getvalue()

    formatters = shell.display_formatter.formatters
    formatters["text/html"].for_type_by_name("stdatamodels.model_base", "DataModel", card)
    formatters["text/plain"].for_type_by_name("stdatamodels.model_base", "DataModel", text)
    # Figures that are not made through pyplot show as pictures only once its inline backend is set up; ours always should.
    formatters["image/png"].for_type_by_name("matplotlib.figure", "Figure", picture)
