(function () {
  "use strict";
  var root = document.documentElement;
  root.classList.remove("no-script");
  function all(selector, from) { return Array.prototype.slice.call((from || document).querySelectorAll(selector)); }

  // Sort a table by the column whose button was pressed.
  all("table.sortable").forEach(function (table) {
    var body = table.tBodies[0];
    all("thead th", table).forEach(function (head, column) {
      var button = head.querySelector("button");
      if (!button) { return; }
      button.addEventListener("click", function () {
        var down = head.getAttribute("aria-sort") === "ascending";
        all("thead th", table).forEach(function (other) { other.removeAttribute("aria-sort"); });
        head.setAttribute("aria-sort", down ? "descending" : "ascending");
        var rows = Array.prototype.slice.call(body.rows);
        rows.sort(function (a, b) { return compare(key(a, column), key(b, column)) * (down ? -1 : 1); });
        rows.forEach(function (row) { body.appendChild(row); });
      });
    });
  });
  function key(row, column) {
    var cell = row.cells[column];
    var value = cell.getAttribute("data-value");
    return value === null ? cell.textContent.trim() : value;
  }
  function compare(a, b) {
    var x = Number(a), y = Number(b);
    if (a !== "" && b !== "" && !isNaN(x) && !isNaN(y)) { return x - y; }
    return a.localeCompare(b, undefined, { numeric: true });
  }

  // Filter the pictures and the table together; order the pictures.
  var text = document.getElementById("filter-text");
  var klass = document.getElementById("filter-class");
  var only = document.getElementById("filter-flagged");
  var order = document.getElementById("order");
  var count = document.getElementById("count");
  var gallery = document.getElementById("gallery");
  function apply() {
    var needle = text.value.toLowerCase(), shown = {};
    all("[data-input]").forEach(function (entry) {
      var fits = (!needle || entry.getAttribute("data-text").toLowerCase().indexOf(needle) >= 0)
        && (!klass.value || entry.getAttribute("data-class") === klass.value)
        && (!only.checked || entry.getAttribute("data-flagged") === "1");
      entry.hidden = !fits;
      if (fits) { shown[entry.getAttribute("data-input")] = true; }
    });
    count.textContent = Object.keys(shown).length + " inputs shown";
  }
  if (text) {
    [text, klass, only].forEach(function (control) {
      control.addEventListener("input", apply);
      control.addEventListener("change", apply);
    });
    if (gallery && order) {
      order.addEventListener("change", function () {
        var cards = Array.prototype.slice.call(gallery.children);
        cards.sort(function (a, b) {
          return compare(a.getAttribute("data-" + order.value), b.getAttribute("data-" + order.value));
        });
        cards.forEach(function (card) { gallery.appendChild(card); });
      });
    }
  }

  // Show and save the embedded report.
  var data = document.getElementById("report-json");
  var raw = document.getElementById("raw");
  var place = document.getElementById("raw-text");
  raw.addEventListener("toggle", function () { if (raw.open) { place.textContent = data.textContent; } });
  document.getElementById("save").addEventListener("click", function () {
    var link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([data.textContent], { type: "application/json" }));
    link.download = "report.json";
    link.click();
  });
})();
