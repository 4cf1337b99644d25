// The table of runs: its columns sort, and lists filter it. Without script it is a plain table.
(() => {
  "use strict";
  const table = document.querySelector("table.runs");
  if (!table) return;
  const body = table.tBodies[0];
  const rows = [...body.rows];
  const headers = [...table.tHead.rows[0].cells];
  const text = (row, column) => row.cells[column].textContent.trim();
  const compare = new Intl.Collator("en", { numeric: true }).compare;

  headers.forEach((header, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...header.childNodes);
    header.append(button);
    button.addEventListener("click", () => {
      const down = header.getAttribute("aria-sort") === "ascending";
      headers.forEach((each) => each.removeAttribute("aria-sort"));
      header.setAttribute("aria-sort", down ? "descending" : "ascending");
      const number = "number" in header.dataset;
      rows.sort((a, b) => {
        const [x, y] = [text(a, column), text(b, column)];
        return (down ? -1 : 1) * (number ? parseFloat(x) - parseFloat(y) : compare(x, y));
      });
      body.append(...rows);
    });
  });

  // One list for each column that has data-filter; a cell may name several, parted by commas.
  const form = document.createElement("form");
  form.className = "runs-filters";
  form.setAttribute("aria-label", "Filter the runs");
  const asked = new URLSearchParams(location.search);
  const filters = headers.flatMap((header, column) => {
    const name = header.dataset.filter;
    if (!name) return [];
    const several = "several" in header.dataset;
    const values = (row) => (several ? text(row, column).split(", ") : [text(row, column)]);
    const label = document.createElement("label");
    label.append(header.textContent.trim());
    const select = document.createElement("select");
    select.name = name;
    select.append(new Option("all", ""));
    for (const value of [...new Set(rows.flatMap(values))].sort(compare)) select.append(new Option(value, value));
    label.append(select);
    form.append(label);
    if ([...select.options].some((option) => option.value === asked.get(name))) select.value = asked.get(name);
    return [{ select, values }];
  });
  const reset = document.createElement("button");
  reset.type = "reset";
  reset.textContent = "Show all";
  const told = document.createElement("output");
  form.append(reset, told);
  const filter = () => {
    let shown = 0;
    for (const row of rows) {
      row.hidden = !filters.every(({ select, values }) => !select.value || values(row).includes(select.value));
      shown += !row.hidden;
    }
    told.textContent = `${shown} of ${rows.length} run pages`;
  };
  form.addEventListener("change", filter);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => {
    filters.forEach(({ select }) => [...select.options].forEach((option) => (option.defaultSelected = false)));
    setTimeout(filter);
  });
  table.closest(".table-scroll").before(form);
  filter();
})();
