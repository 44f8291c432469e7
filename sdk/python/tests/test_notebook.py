"""The example notebook, cell by cell, against a real service."""

import nbformat
from conftest import ROOT
from nbclient import NotebookClient


def test_the_notebook_runs_from_csv_to_plot(url, monkeypatch):
    path = ROOT / "examples/notebooks/weather.ipynb"
    notebook = nbformat.read(path, as_version=4)
    assert all(cell.get("outputs", []) == [] for cell in notebook.cells), "the notebook is kept without outputs"
    monkeypatch.setenv("TRAINYARD_URL", url)
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(path.parent)}}).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert not [output for output in outputs if output.output_type == "error"]
    kinds = {kind for output in outputs for kind in output.get("data", {})}
    assert "image/png" in kinds, "there is a plot"
    text = "".join(output.get("text", "") for output in outputs)
    assert "forecast-notebook" in text
