"""Notebooks: the pairs agree, and what is committed tells of results, not of a machine."""

import ast
import copy
import re
import tomllib

import nbformat
import pytest
import yaml

from sparseconv_lib.study import notebooks, probe, provenance
from sparseconv_lib.study.grid import EXPERIMENTS
from sparseconv_lib.study.notebooks import cells_of, forget_machine
from sparseconv_lib.study.paths import NOTEBOOKS, ROOT

SOURCES = sorted(NOTEBOOKS.glob("*.py"))
TRAIN = {experiment.notebook for experiment in EXPERIMENTS.values()}  # those that a sweep runs
READ_ONLY = {"forensics", "discussion"}  # chapters that only read records
PATH = re.compile(r"(?<![\w./-])(?:/(?:home|root|tmp|work|Users|private|var)/|[A-Z]:\\\\?Users)")


def essence(notebook):
    """What the two of a pair share: each cell's kind, text, tags and id."""
    return [
        (cell.cell_type, cell.source, cell.metadata.get("tags", []), cell.id)
        for cell in notebook.cells
    ]


def told(output):
    """What an output says, as text: without pictures, whose letters mean nothing."""
    data = {
        kind: text for kind, text in output.get("data", {}).items() if not kind.startswith("image/")
    }
    text = "".join(map(str, [*data.values(), output.get("text", "")]))
    return re.sub(r"base64,[A-Za-z0-9+/=\s]+", "", text)


def output_problems(notebook):
    """What no committed notebook may hold: errors, the standard error, paths of a machine."""
    problems = []
    for i, cell in enumerate(notebook.cells):
        if PATH.search(cell.source):
            problems.append(f"cell {i} names a path of a machine")
        for output in cell.get("outputs", []):
            if output.output_type == "error":
                problems.append(f"cell {i} holds an error: {output.ename}")
            if output.get("name") == "stderr":
                problems.append(f"cell {i} holds standard error: {output.text[:80]!r}")
            if match := PATH.search(told(output)):
                problems.append(f"an output of cell {i} names a path: {match[0]}")
    extra = set(notebook.metadata) - {"kernelspec", "language_info"}
    if extra or any(set(cell.metadata) - {"tags"} for cell in notebook.cells):
        problems.append(
            f"metadata of a machine or a run: {', '.join(sorted(extra)) or 'in a cell'}"
        )
    return problems


def committed(source):
    return nbformat.read(source.with_suffix(".ipynb"), as_version=4)


def test_there_are_notebooks_and_each_is_a_pair():
    assert SOURCES
    assert {path.stem for path in SOURCES} == {path.stem for path in NOTEBOOKS.glob("*.ipynb")}


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_the_pair_agrees(source):
    """Where this fails: `make notebooks`."""
    assert essence(committed(source)) == essence(cells_of(source))


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_cell_ids_are_stable_and_each_its_own(source, tmp_path):
    once, twice = cells_of(source), cells_of(source)
    assert essence(once) == essence(twice)
    assert len({cell.id for cell in once.cells}) == len(once.cells)
    changed = tmp_path / source.name
    changed.write_text(source.read_text("utf-8") + "\n# %%\nx = 1\n", "utf-8")
    assert essence(cells_of(changed))[:-1] == essence(once)


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_what_is_committed_is_whole_and_tells_nothing_of_a_machine(source):
    notebook = committed(source)
    nbformat.validate(notebook)
    assert notebook.metadata.kernelspec.name == "python3"  # papermill takes it from here
    assert output_problems(notebook) == []
    code = [cell for cell in notebook.cells if cell.cell_type == "code" and cell.source.strip()]
    assert any(cell.outputs for cell in code)  # nbval compares them
    assert all(cell.execution_count for cell in code)  # executed to the end


def an_executed_notebook():
    v4 = nbformat.v4
    notebook = v4.new_notebook(
        cells=[
            v4.new_markdown_cell("# Title, and a link https://example.org/home/x"),
            v4.new_code_cell(
                "print(1)",
                outputs=[
                    v4.new_output("stream", name="stdout", text="1\n"),
                    v4.new_output(
                        "display_data",
                        {"text/html": '<img src="data:image/png;base64,AAAA /tmp/ BB/home/aa=">'},
                    ),
                    v4.new_output("display_data", {"image/png": "iVBORw0 /home/AAAA"}),
                ],
            ),
        ]
    )
    forget_machine(notebook)
    return notebook


@pytest.mark.parametrize(
    "output, problem",
    [
        (dict(output_type="error", ename="ValueError", evalue="x"), "an error: ValueError"),
        (dict(output_type="stream", name="stderr", text="warning"), "standard error"),
        (dict(output_type="stream", name="stdout", text="in /home/me/x.py"), "a path: /home/"),
        (dict(output_type="stream", name="stdout", text='"/tmp/ipykernel_1/2.py:3"'), "/tmp/"),
        (dict(output_type="display_data", data={"text/html": "<p>/work/x</p>"}), "/work/"),
        (dict(output_type="display_data", data={"text/plain": r"C:\Users\me"}), "Users"),
    ],
)
def test_the_checks_of_outputs_find_what_they_look_for(output, problem):
    notebook = an_executed_notebook()
    assert output_problems(notebook) == []
    notebook.cells[1].outputs.append(nbformat.v4.new_output(**output))
    (found,) = output_problems(notebook)
    assert problem in found


def test_the_checks_find_what_papermill_and_jupyter_leave():
    for spoil in (
        lambda notebook: notebook.metadata.update(papermill={"input_path": "x"}),
        lambda notebook: notebook.cells[1].metadata.update(execution={"a": 1}),
        lambda notebook: notebook.cells[1].update(source="open('/home/me/x')"),
    ):
        notebook = an_executed_notebook()
        spoil(notebook)
        assert len(output_problems(notebook)) == 1
        if "source" not in spoil.__code__.co_consts and "/home" not in notebook.cells[1].source:
            forget_machine(notebook)
            assert output_problems(notebook) == []


@pytest.mark.parametrize("drift", ["source", "tags", "id", "kind", "lost", "order"])
def test_the_comparison_of_pairs_finds_any_drift(drift):
    notebook = cells_of(SOURCES[0])
    other = copy.deepcopy(notebook)
    cell = other.cells[1]
    if drift == "source":
        cell.source += "\n"
    elif drift == "tags":
        cell.metadata["tags"] = [*cell.metadata.get("tags", []), "x"]
    elif drift == "id":
        cell.id = "another"
    elif drift == "kind":
        cell.cell_type = "raw"
    elif drift == "lost":
        del other.cells[-1]
    else:
        other.cells[1:3] = other.cells[2:0:-1]
    assert essence(other) != essence(notebook)


# Parameters


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_parameters_are_checked_before_anything_slow(source):
    """papermill injects behind the cell of the parameters: the next cell is the first to see it."""
    cells = [cell for cell in cells_of(source).cells if cell.cell_type == "code"]
    (at,) = [
        i for i, cell in enumerate(cells) if "parameters" in cell.metadata.get("tags", [])
    ]  # one cell, or papermill takes the first
    names = {
        target.id
        for node in ast.parse(cells[at].source).body
        if isinstance(node, ast.Assign)
        for target in node.targets
    }
    if source.stem in READ_ONLY:
        assert not names
    else:
        assert "source" in names
        assert 'os.environ.get("SPARSECONV_SOURCE", "train")' in cells[at].source
    assert re.search(r"\n_before = \w+\(globals\(\)\)$", cells[at - 1].source.rstrip())
    check = ast.parse(cells[at + 1].source).body
    first = check[0].value
    assert first.func.id == "check_parameter_names"
    assert names == (ast.literal_eval(first.args[0]) if names else set())
    assert names or ast.unparse(first.args[0]) == "set()"
    assert ast.unparse(first.args[1]) == "_before"
    assert re.fullmatch(r"\w+\(globals\(\)\)", ast.unparse(first.args[2]))
    # Each parameter is looked at in that cell.
    read = {node.id for node in ast.walk(ast.Module(check[1:], [])) if isinstance(node, ast.Name)}
    assert names <= read
    # Before it nothing is loaded or trained: imports, and the names so far.
    for cell in cells[:at]:
        for node in ast.parse(cell.source).body:
            assert isinstance(node, ast.Import | ast.ImportFrom | ast.Assign), ast.unparse(node)


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_papermill_understands_the_parameters(source, capfd):
    """`papermill --help-notebook` lists them, and no run warns of a parameter that is there."""
    import papermill

    found = papermill.inspect_notebook(str(source.with_suffix(".ipynb")))
    (cell,) = [c for c in cells_of(source).cells if "parameters" in c.metadata.get("tags", [])]
    lines = [line for line in cell.source.splitlines() if not line.startswith("#")]
    assert list(found) == [line.split(" = ")[0] for line in lines]
    assert all(parameter["help"] for parameter in found.values())


@pytest.mark.parametrize(
    "source", [path for path in SOURCES if path.stem in TRAIN], ids=lambda path: path.stem
)
def test_a_run_page_is_left_with_a_title_and_its_own_run(source):
    cells = cells_of(source).cells
    assert cells[0].cell_type == "markdown" and cells[0].source.startswith("# ")
    run = [cell for cell in cells if "chapter" not in cell.metadata.get("tags", [])]
    text = "\n".join(cell.source for cell in run if cell.cell_type == "code")
    ast.parse(text)
    # What draws on other trainings' records is for chapters.
    for name in ("source_table", "accuracy_figure", "difference_figure", "verdict_table", "glue"):
        assert name not in text
    assert "runner.run(" in text


# The environments


def ranges(requirements):
    """name -> its ranges, in one order and spelling; conda's names for what is called otherwise."""
    found = {}
    for requirement in requirements:
        name, bounds = re.fullmatch(r"([A-Za-z0-9_.-]+?)\s*((?:[<>=!~].*)?)", requirement).groups()
        name = {"torch": "pytorch"}.get(name, name).lower().replace("_", "-")
        assert name not in found, f"{name} stands twice"
        found[name] = sorted(part.strip() for part in bounds.split(",") if part.strip())
    return found


def test_the_ranges_of_conda_are_those_of_pip():
    with (ROOT / "pyproject.toml").open("rb") as file:
        project = tomllib.load(file)["project"]
    environment = yaml.safe_load((ROOT / "environment.yml").read_text("utf-8"))
    conda = [item for item in environment["dependencies"] if isinstance(item, str)]
    (pip,) = [item["pip"] for item in environment["dependencies"] if isinstance(item, dict)]
    extras = project["optional-dependencies"]
    wanted = ranges([*project["dependencies"], *extras["study"], *extras["book"], *extras["test"]])
    wanted["python"] = [project["requires-python"]]
    assert "-e ." in pip and "pip" in conda
    given = ranges(item for item in [*conda, *pip] if item not in ("-e .", "pip"))
    assert given == wanted
    assert environment["channels"] == ["conda-forge"]


def test_the_comparison_of_ranges_finds_a_difference():
    assert ranges(["torch>=2.11,<3"]) == ranges(["pytorch<3, >=2.11"])
    assert ranges(["torch>=2.11,<3"]) != ranges(["pytorch>=2.11"])
    assert ranges(["numpy>=2"]) != ranges(["numpy"])


def test_notebooks_are_not_updated_for_code_without_probes(monkeypatch):
    """Their outputs would mark every record as made by other code."""
    monkeypatch.setattr(probe, "load", lambda: {"0" * 16: {}})
    monkeypatch.setattr(notebooks, "update", lambda path: pytest.fail("updated"))
    with pytest.raises(SystemExit, match="run `sparseconv probe` first"):
        notebooks.main()


def test_an_update_executes_the_source_and_tells_nothing_of_the_machine(monkeypatch, tmp_path):
    monkeypatch.setattr(notebooks, "NOTEBOOKS", tmp_path)
    monkeypatch.setenv("SPARSECONV_SOURCE", "train")
    source = tmp_path / "small.py"
    source.write_text("# %% [markdown]\n# # Title\n\n# %%\nimport os\nprint(1 + 1)\n")
    monkeypatch.setattr(probe, "load", dict)
    with pytest.raises(SystemExit, match="run `sparseconv probe` first"):
        notebooks.main()
    assert not source.with_suffix(".ipynb").exists()
    with monkeypatch.context() as patch:
        made = []
        patch.setattr(probe, "load", lambda: {provenance.code_identity(): {}})
        patch.setattr(notebooks, "update", lambda path: made.append(path) or path)
        notebooks.main()
        assert made == [source]
    monkeypatch.setattr(notebooks, "QUICKLY", True)
    with pytest.raises(SystemExit, match="unset it"):
        notebooks.main()
    assert notebooks.update(source) == source.with_suffix(".ipynb")
    made = committed(source)
    assert essence(made) == essence(cells_of(source)) and output_problems(made) == []
    assert made.cells[1].outputs[0].text == "2\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["small.ipynb", "small.py"]
