"""An estimate on the terminal."""

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from hazy_pipeline.estimate import words
from hazy_pipeline.estimate.estimator import duration, memory
from hazy_pipeline.estimate.forecast import Forecast
from hazy_pipeline.estimate.look import Look


def show_look(console: Console, found: Look) -> None:
    """A table of the candidates, the advice in sentences, and what all of it rests on."""
    forecast = found.estimate.forecast
    console.print(cost_table(forecast))
    for line in words.lines(forecast)[1:]:
        console.print(f"• {escape(line)}", highlight=False, soft_wrap=True)
    about = "about " if found.how == "from the size of the files" else ""
    console.print(
        f"[dim]Read {found.read:,} of {about}{forecast.n_rows:,} rows ({found.how}). "
        f"Predicted from {words.rests_on(forecast, found.earlier_runs)}.[/]", highlight=False, soft_wrap=True,
    )  # fmt: skip


def cost_table(forecast: Forecast) -> Table:
    """A line per candidate: one trial, all trials, memory, GPU, training, rows per second."""
    table = Table(
        title=f"What a run of {forecast.generator} will cost", box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False
    )
    table.add_column("candidate", no_wrap=True)
    for name in ("a trial", "trials", "in all", "memory", "GPU", "training", "M rows/s"):
        table.add_column(name, justify="left" if name == "GPU" else "right", no_wrap=True)
    for made in forecast.candidates:
        gpu = ("yes" if forecast.has_gpu else "none") if made.gpu else ""
        name = made.candidate.replace("_", " ")
        table.add_row(
            f"[strike]{name}[/]" if made.excluded else name, duration(made.trial.seconds), str(made.trials),
            duration(made.search.seconds), memory(made.dearest.bytes), gpu, duration(made.training.seconds),
            words.speed(made),
        )  # fmt: skip
    return table
