// Tables that follow a list: one row for each item, made once and then only changed where its text changes.

import { make, setClass, setText } from "./dom.js";

export class Table {
  // *columns* are {head, text(item), tone(item), title(item), name, actions(item)}; *key* tells items apart. *actions*
  // is called once a row and returns buttons; they get the item as it is when they are pressed.
  constructor(box, { caption, columns, key, empty, most = 300 }) {
    Object.assign(this, { columns, key, empty, most });
    this.body = make("tbody");
    const heads = columns.map((column) => make("th", { scope: "col", name: column.name, text: column.head }));
    this.table = make("table", { name: "data" }, make("caption", { name: "hidden", text: caption }), make("thead", {}, make("tr", {}, ...heads)), this.body);
    this.nothing = make("p", { name: "empty", text: empty });
    this.more = make("p", { name: "hint" });
    this.rows = new Map();
    box.replaceChildren(make("div", { name: "scroll" }, this.table), this.nothing, this.more);
    this.set([]);
  }

  set(items) {
    const shown = items.slice(0, this.most), keep = new Set();
    shown.forEach((item, index) => {
      const key = this.key(item);
      keep.add(key);
      let row = this.rows.get(key);
      if (!row) {
        row = this.#row(item);
        this.rows.set(key, row);
      }
      this.#fill(row, item);
      const there = this.body.children[index];
      if (there !== row.element) this.body.insertBefore(row.element, there ?? null);
    });
    for (const [key, row] of this.rows) {
      if (keep.has(key)) continue;
      row.element.remove();
      this.rows.delete(key);
    }
    this.table.hidden = !shown.length;
    this.nothing.hidden = Boolean(shown.length);
    this.more.hidden = items.length <= this.most;
    setText(this.more, `${items.length - this.most} more are not shown`);
  }

  #row(item) {
    const row = { item, cells: [], refresh: [] };
    const cells = this.columns.map((column) => {
      const cell = make("td", { name: column.name });
      if (column.actions) {
        const { buttons, refresh } = column.actions(() => row.item);
        cell.append(make("span", { name: "actions" }, ...buttons));
        if (refresh) row.refresh.push(refresh);
      }
      return cell;
    });
    row.cells = cells;
    row.element = make("tr", {}, ...cells);
    return row;
  }

  #fill(row, item) {
    row.item = item;
    this.columns.forEach((column, index) => {
      if (column.actions) return;
      const cell = row.cells[index];
      setText(cell, column.text(item));
      if (column.tone) setClass(cell, `${column.name ?? ""} ${column.tone(item)}`.trim());
      if (column.title) {
        const title = column.title(item);
        if (cell.title !== title) cell.title = title;
      }
    });
    for (const refresh of row.refresh) refresh(item);
  }
}
