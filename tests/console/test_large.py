"""Tables of 100,000 lines scroll smoothly in bounded memory, and a tree of 10,000 accounts is built at once."""

import json

from tests.support.console import Console

LINES = 100_000
FRAME_SECONDS = 1 / 60

# A source like that of an API: pages of 1000 lines, each by its address.
MOUNT = """(async () => {
  const { table } = await import("/console/table.js");
  window.loads = 0;
  const load = async (address) => {
    window.loads += 1;
    const first = Number(address);
    const items = Array.from({ length: 1000 }, (_, index) => ({ number: first + index }));
    return { items, next: first + 1000 < LINES ? String(first + 1000) : null };
  };
  const columns = ["a", "b", "c", "d", "e", "f"].map((title) => ({ title, cell: (item) => `${title} ${item.number}` }));
  const grid = table({ label: "Lines", columns, source: { first: "0", load } });
  const view = document.createElement("div");
  view.className = "view full";
  view.append(grid);
  document.querySelector("main").replaceChildren(view);
  window.grid = grid;
})() && true"""

# Scrolls by a number of pixels each frame, and counts frames and rows.
SCROLL = """(async () => {
  const done = { frames: 0, rows: 0 };
  while (done.frames < 240) {
    grid.scrollTop += 100;
    await new Promise((resolve) => requestAnimationFrame(resolve));
    done.frames += 1;
    done.rows = Math.max(done.rows, grid.querySelectorAll(".rows .row").length);
  }
  window.scrolled = done;
})() && true"""

TO_THE_END = """(async () => {
  while (grid.getAttribute("aria-rowcount") !== "LINES_AND_HEAD") {
    grid.scrollTop = grid.scrollHeight;
    await new Promise((resolve) => setTimeout(resolve));
  }
  window.ended = true;
})() && true"""

TREE = """(async () => {
  const { buildTree, matches, rowsOf } = await import("/console/tree.js");
  const accounts = Array.from({ length: 10000 }, (_, index) => ({
    id: String(index), user_id: "u", currency: "USD", balance_cents: index,
    code: `tree:g${index % 10}:h${index % 200}:leaf-${index}`,
  }));
  const tree = buildTree(accounts.filter((account) => matches(account, { q: "leaf" }, account.code)));
  window.tree = [tree.count, String(tree.sums.get("USD")), rowsOf(tree, null).length, rowsOf(tree, new Set()).length];
})() && true"""


async def mount(console: Console) -> None:
    await console.open()
    await console.page.run(MOUNT.replace("LINES", str(LINES)))
    await console.until("window.grid?.querySelectorAll('.rows .row').length > 10")


async def test_scrolling_takes_less_than_a_frame_and_few_elements(console: Console) -> None:
    await mount(console)

    before = await console.page.thread_seconds()
    await console.page.run(SCROLL)
    scrolled = json.loads(await console.page.run("window.scrolled && JSON.stringify(window.scrolled)"))
    seconds = await console.page.thread_seconds() - before

    assert scrolled["rows"] < 80
    assert seconds / scrolled["frames"] < FRAME_SECONDS


async def test_the_end_of_a_long_table_is_reached_and_its_beginning_is_loaded_again(console: Console) -> None:
    await mount(console)

    await console.page.run(TO_THE_END.replace("LINES_AND_HEAD", str(LINES + 1)))
    last = "grid.querySelector('.rows .row:last-child').innerText.includes('a 99999')"
    await console.until(f"window.ended && (grid.scrollTo(0, grid.scrollHeight), {last})")
    loads = await console.run("window.loads")
    await console.page.run("(grid.scrollTo(0, 0), true)")
    await console.until("grid.querySelector('.rows .row')?.innerText.includes('a 0')")

    assert LINES / 1000 == loads
    assert loads < await console.run("window.loads")  # the first pages were forgotten
    assert await console.run("grid.querySelectorAll('.rows .row').length") < 80


async def test_ten_thousand_accounts_become_a_tree(console: Console) -> None:
    await console.open()

    before = await console.page.thread_seconds()
    await console.page.run(TREE)
    count, total, all_rows, closed_rows = json.loads(
        await console.page.run("window.tree && JSON.stringify(window.tree)")
    )
    seconds = await console.page.thread_seconds() - before

    assert (10_000, "49995000", 1) == (count, total, closed_rows)
    assert 10_000 + 1 + 10 + 200 == all_rows
    assert seconds < 1
