// The text as a row of tokens that can be pointed at, clicked, and walked through with the arrow keys.

const tokens = record.tokens.map(([label, first, last, kind], i) => ({ label, first, last, kind, i }));

/** A token in words: “e” (12), counted from 1. */
const named = (i) => `“${tokens[i].label}” (${i + 1})`;

/** The token that is chosen first: the last, or one that is in sight before the text is scrolled. */
const opening = (count = tokens.length) => Math.min(count - 1, 120);

/**
 * The text; `see(i)` is called for the token that is pointed at, or else for the one that was chosen last.
 * `paint(of)` colours it: of(i) is null, or {map, share, odd}.
 */
function strip(label, see, count = tokens.length) {
  const root = make('div', { class: 'strip', role: 'listbox', 'aria-label': label, 'aria-orientation': 'horizontal' });
  let chosen = opening(count);
  const items = tokens.slice(0, count).map((token) => {
    const shown = token.kind === 'space' ? ' ' : token.label;
    const item = make('span', { role: 'option', tabindex: -1, 'aria-selected': false, class: token.kind }, shown);
    item.setAttribute('aria-label', `${token.label}, token ${token.i + 1}`);
    item.dataset.i = token.i;
    root.append(item);
    if (token.kind === 'break') root.append(make('br'));
    return item;
  });
  const choose = (i) => {
    items[chosen].setAttribute('aria-selected', false);
    items[chosen].setAttribute('tabindex', -1);
    chosen = i;
    items[i].setAttribute('aria-selected', true);
    items[i].setAttribute('tabindex', 0);
    seen(i);
  };
  const seen = (i) => {
    root.querySelector('.chosen')?.classList.remove('chosen');
    items[i].classList.add('chosen');
    see(i);
  };
  const at = (event) => event.target.closest('[role="option"]')?.dataset.i;
  root.addEventListener('pointerover', (event) => at(event) !== undefined && seen(Number(at(event))));
  root.addEventListener('pointerleave', () => seen(chosen));
  root.addEventListener('click', (event) => at(event) !== undefined && items[at(event)].focus());
  root.addEventListener('focusin', (event) => at(event) !== undefined && choose(Number(at(event))));
  root.addEventListener('keydown', (event) => {
    const to = nextToken(event.key, chosen, items);
    if (to === null) return;
    event.preventDefault();
    items[to].focus();
  });
  root.paint = (of) => {
    items.forEach((item, i) => {
      const look = of(i);
      const rgb = look && !look.odd ? colour(look.map, look.share) : null;
      item.style.background = rgb ? css(rgb) : '';
      item.style.color = rgb ? inkOn(rgb) : '';
      // The bar below says the same as the colour.
      const high = look && !look.odd ? Math.round(4 * Math.abs(look.map === 'both' ? 2 * look.share - 1 : look.share)) : 0;
      item.style.boxShadow = high ? `inset 0 -${high}px ${inkOn(rgb)}` : '';
      item.classList.toggle('odd', Boolean(look && look.odd));
    });
  };
  root.choose = choose;
  root.again = () => seen(chosen);
  return root;
}

/** Where a key leads from a token, or null; up and down go to what stands nearest in the next line. */
function nextToken(key, from, items) {
  const last = items.length - 1;
  const plain = { ArrowLeft: from - 1, ArrowRight: from + 1, Home: 0, End: last, PageUp: from - 20, PageDown: from + 20 };
  if (key in plain) return Math.min(Math.max(plain[key], 0), last);
  if (key !== 'ArrowUp' && key !== 'ArrowDown') return null;
  const way = key === 'ArrowUp' ? -1 : 1;
  const here = items[from].getBoundingClientRect();
  let line = null;
  let best = from;
  let distance = Infinity;
  for (let i = from + way; i >= 0 && i <= last; i += way) {
    const box = items[i].getBoundingClientRect();
    if (way * (box.bottom - here.bottom) < here.height / 2) continue;
    line ??= box.bottom;
    if (Math.abs(box.bottom - line) > here.height / 2) break;
    const apart = Math.abs(box.left - here.left);
    if (apart < distance) [best, distance] = [i, apart];
  }
  return best;
}
