// Tables of class "sortable": their headings become buttons. Without this script they stay in the order they were made.
for (const table of document.querySelectorAll("table.sortable")) {
    const body = table.tBodies[0];
    const headings = [...table.tHead.rows[0].cells];
    const valueOf = (row, column) => row.cells[column].dataset.value ?? row.cells[column].textContent.trim();
    // A campaign may be called 10, or 1e3: names are compared as names, 2 before 10.
    const isText = column => headings[column].classList.contains("name");
    const compare = (left, right, column, sign) => {
        const a = valueOf(left, column), b = valueOf(right, column);
        if (a === "" || b === "") return (a === "") - (b === ""); // what is not known comes last, in both directions
        // Amounts of two currencies do not compare: the currencies stand apart.
        const byGroup = (left.cells[column].dataset.group ?? "").localeCompare(right.cells[column].dataset.group ?? "");
        if (byGroup) return byGroup;
        const asText = isText(column) || isNaN(a) || isNaN(b);
        return sign * (asText ? a.localeCompare(b, undefined, { numeric: true }) : a - b);
    };
    headings.forEach((heading, column) => {
        const button = document.createElement("button");
        button.type = "button";
        button.append(...heading.childNodes);
        heading.append(button);
        button.addEventListener("click", () => {
            const first = heading.classList.contains("name") ? "ascending" : "descending";
            const other = first === "ascending" ? "descending" : "ascending";
            const direction = heading.getAttribute("aria-sort") === first ? other : first;
            headings.forEach(each => each.removeAttribute("aria-sort"));
            heading.setAttribute("aria-sort", direction);
            const sign = direction === "ascending" ? 1 : -1;
            body.append(...[...body.rows].sort((left, right) => compare(left, right, column, sign)));
        });
    });
}
