// The text as a row of characters, each of one token or of several, that can be pointed at, clicked, and walked through with the arrow keys.

const tokens = record.tokens.map(([label, first, last, kind], i) => ({ label, first, last, kind, i }));


/** What a reader sees as one character, `first` to `last` of the tokens: a syllable with its letters, or one alone. */
const signs = record.spans.map(([first, end], i) => {
  const [label, kind, logP] = record.characters[i];
  return { label, kind, logP, i, first, last: end - 1, letters: tokens.slice(first, end) };
});
const spelt = signs.length < tokens.length;
const signOf = signs.flatMap((sign) => sign.letters.map(() => sign.i));

/** A character in words: “e” (12), counted from 1. */
const named = (i) => `“${signs[i].label}” (${i + 1})`;

/** A token in words: a letter with the syllable that it is a part of. */
const namedToken = (t) => {
  const sign = signs[signOf[t]];
  return sign.letters.length > 1 ? `“${tokens[t].label}” of ${named(sign.i)}` : named(sign.i);
};

/** The letters of a character with a value each, or nothing where it is one token; `value` is given the token. */
const byLetter = (i, value) => {
  const { letters } = signs[i];
  return letters.length > 1 ? letters.map((one) => `${one.label} ${value(one.i)}`).join(', ') : '';
};

/** The character that is chosen first: the last, or one that is in sight before the text is scrolled. */
const opening = (count = signs.length) => Math.min(count - 1, 120);

/**
 * The text; `see(i)` is called for the character that is pointed at, or else for the one that was chosen last.
 * `paint(of)` colours it: of(i) is null, or {map, share, odd}.
 */
function strip(label, see, count = signs.length) {
  const root = make('div', { class: 'strip', role: 'listbox', 'aria-label': label, 'aria-orientation': 'horizontal' });
  let chosen = opening(count);
  const items = signs.slice(0, count).map((sign) => {
    const shown = sign.kind === 'space' ? ' ' : sign.label;
    const item = make('span', { role: 'option', tabindex: -1, 'aria-selected': false, class: sign.kind }, shown);
    const inside = sign.letters.length > 1 ? `, of ${sign.letters.map((one) => one.label).join(' ')}` : '';
    item.setAttribute('aria-label', `${sign.label}, ${spelt ? 'character' : 'token'} ${sign.i + 1}${inside}`);
    item.dataset.i = sign.i;
    root.append(item);
    if (sign.kind === 'break') root.append(make('br'));
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
