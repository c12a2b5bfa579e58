/* The center's table of regions: sorts by any column, filters, and takes new rows when the page is renewed. */
"use strict";
(() => {
  const { show, words, setText } = Titian;
  const table = document.getElementById("regions");
  if (!table) return;
  const heads = [...table.tHead.rows[0].cells];
  const filter = document.getElementById("regions-filter");
  const count = document.getElementById("regions-shown");
  let column = 1;
  let down = true;

  const key = (row) => {
    const cell = row.cells[column];
    if (!("v" in cell.dataset)) return cell.textContent.trim();
    return cell.dataset.v === "" ? null : Number(cell.dataset.v);
  };
  /* What is not known stands last whichever way; equals stand by trouble, then by code. */
  function compare(a, b) {
    if (a.key !== b.key) {
      if (a.key === null || a.key === "") return 1;
      if (b.key === null || b.key === "") return -1;
      const order = typeof a.key === "number" ? a.key - b.key : a.key.localeCompare(b.key, Titian.lang, { numeric: true });
      if (order) return down ? -order : order;
    }
    return b.trouble - a.trouble || a.code.localeCompare(b.code);
  }
  function sort() {
    const rows = [...table.tBodies[0].rows].map((row) => ({ row, key: key(row), trouble: Number(row.cells[1].dataset.v), code: row.dataset.code }));
    rows.sort(compare);
    table.tBodies[0].append(...rows.map((one) => one.row));
    heads.forEach((head, at) => {
      if (at === column) head.setAttribute("aria-sort", down ? "descending" : "ascending");
      else head.removeAttribute("aria-sort");
    });
  }
  function choose() {
    const wanted = filter.value.trim().toLowerCase();
    let shown = 0;
    for (const row of table.tBodies[0].rows) {
      row.hidden = wanted !== "" && !row.textContent.toLowerCase().includes(wanted);
      shown += row.hidden ? 0 : 1;
    }
    const of = table.tBodies[0].rows.length;
    setText(count, shown === of ? show.number(of) : words["js.of"].replace("{n}", show.number(shown)).replace("{of}", show.number(of)));
  }
  table.tHead.addEventListener("click", (event) => {
    const head = event.target.closest("th");
    if (!head || !event.target.closest("button")) return;
    const at = heads.indexOf(head);
    const text = !(table.tBodies[0].rows[0] && "v" in table.tBodies[0].rows[0].cells[at].dataset);
    down = at === column ? !down : !text;
    column = at;
    sort();
  });
  filter.addEventListener("input", choose);
  Titian.onRenewed((fresh) => {
    const made = fresh.getElementById("regions");
    if (!made) return;
    const here = document.activeElement && document.activeElement.closest("#regions tbody tr");
    const at = here ? here.dataset.code : null;
    table.tBodies[0].replaceWith(document.adoptNode(made.tBodies[0]));
    sort();
    choose();
    if (at !== null) {
      const row = [...table.tBodies[0].rows].find((one) => one.dataset.code === at);
      if (row) row.querySelector("a").focus({ preventScroll: true });
    }
  });
  document.addEventListener("DOMContentLoaded", choose);
})();
