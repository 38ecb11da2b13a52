// The sections of the page, each left out where the record holds nothing for it.

const main = document.getElementById('main');
const TITLES = {
  saliency: 'What each character depended on',
  units: 'What the units follow',
  gates: 'Gates',
  attention: 'Attention',
  health: 'Health',
};

function section(id, ...words) {
  const root = make('section', { id, 'aria-labelledby': `${id}-title` }, make('h2', { id: `${id}-title` }, TITLES[id]));
  words.forEach((text) => root.append(make('p', { class: 'quiet' }, text)));
  main.append(root);
  return root;
}

function columns(root, left, right) {
  root.append(make('div', { class: 'columns' }, make('div', {}, ...left), make('div', { class: 'side' }, ...right)));
}

/** The places of the largest finite numbers of a row. */
function largest(row, most = 8) {
  const found = row.map((v, i) => [v, i]).filter(([v]) => finite(v) && v > 0);
  return found.sort((a, b) => b[0] - a[0]).slice(0, most);
}

const topOf = (row) => row.reduce((top, v) => (finite(v) && v > top ? v : top), 0);
const quarters = (top) => [0, 1, 2, 3, 4].map((k) => top * (k / 4) ** 2);

/** A text in which the chosen token colours those before it by row(i); `words` tell it in a line. */
function dependence(root, controls, label, row, overall, heads, words, more = [], count = signs.length) {
  const told = toldLine();
  const scale = legend('Colour and bar:');
  const best = table('Largest first', heads, [], [0]);
  let own = true;
  const view = strip(`${label}. Arrow keys move through the text.`, (i) => {
    const values = row(i);
    const top = own ? topOf(values) : overall();
    scale.show('rising', quarters(top));
    view.paint((j) => (j < values.length && values[j] !== null ? { map: 'rising', share: Math.sqrt(values[j] / (top || 1)), odd: !finite(values[j]) } : null));
    told.textContent = words(i, values);
    const sum = values.reduce((all, v) => all + (finite(v) ? v : 0), 0);
    best.show(largest(values).map(([v, j]) => [named(j), i - j, String(v), v / sum < 0.001 ? '< 0.1 %' : percent(v / sum)]));
    more.forEach((see) => see(i));
  }, count);
  controls.append(choice('Scale', [['own', "each character's own"], ['all', 'one for the whole text']], (value) => {
    own = value === 'own';
    view.again();
  }));
  repaint.push(view.again);
  return { view, told, scale, best };
}

function saliencySection() {
  const root = section(
    'saliency',
    'Point at a character, or move to it with the arrow keys: the text before it is coloured by how much its ' +
      'prediction depended on each character there. The number is the length of the gradient of log P(character) ' +
      'with respect to the embedding of the earlier one; 0 means that nothing reaches it.',
    ...(spelt
      ? ['A character of several tokens, as a syllable of letters, is taken whole: its log P is the sum of those of its tokens, which stand behind it, and the gradient is with respect to the embeddings of all tokens of the earlier one together.']
      : []),
  );
  const controls = make('div', { class: 'controls' });
  const guesses = spelt
    ? table('What the model expected there', ['letter', 'expected', 'P'], [], [0, 1])
    : table('What the model expected there', ['character', 'P'], [], [0]);
  const rows = record.saliency;
  const overall = rows.reduce((top, row) => Math.max(top, topOf(row)), 0);
  const words = (i, values) => {
    const { logP } = signs[i];
    const parts = byLetter(i, (t) => record.log_p[t]);
    const p = `${finite(logP) ? `P = ${brief(Math.exp(logP))}, log P = ${logP} nats` : `log P = ${logP}`}${parts && ` (${parts})`}`;
    if (!i) return `${named(0)}: ${p}. Nothing was read before it.`;
    const [first] = largest(values, 1);
    const what = first ? `Depends most on ${named(first[1])}, ${i - first[1]} before: ${first[0]}.` : 'It depends on nothing before it.';
    return `${named(i)}: ${p}. ${what}`;
  };
  const expected = (i) =>
    guesses.show(
      signs[i].letters.flatMap((letter, _, all) =>
        record.likeliest[letter.i].slice(0, all.length > 1 ? 3 : undefined).map(([label, p], k) => {
          const guess = [`“${label}”`, String(p)];
          return spelt ? [k ? '' : letter.label, ...guess] : guess;
        }),
      ),
    );
  const { view, told, scale, best } = dependence(root, controls, 'Text', (i) => rows[i], () => overall, ['character', 'before', 'gradient', 'share'], words, [expected], rows.length);
  root.append(controls);
  columns(root, [view, scale], [told, best, guesses]);
  view.choose(opening(rows.length));
}

const KINDS = {
  h: 'is what a layer gives out',
  x: 'is what leaves a layer',
  c: 'what it keeps',
  i: 'the input gate',
  f: 'the forget gate',
  o: 'the output gate',
  r: 'the reset gate',
  z: 'the update gate',
  g: 'what is offered to be kept',
  n: 'what is offered to be kept',
};

function unitsSection() {
  const names = Object.keys(record.parts);
  const root = section(
    'units',
    'The text coloured by the value of one unit after each character: orange above zero and blue below, or, where it never falls below zero, from its lowest value to its highest.' +
      (record.found.length
        ? ' The table names, for each thing that a reader sees in a text, the unit that follows it most closely, beside the ' +
          'closest that any unit comes by chance, when the thing is turned round along the text (1 in 100 comes closer).'
        : ''),
    `The parts: ${Object.entries(KINDS).filter(([kind]) => names.some((name) => name.startsWith(`${kind}_`))).map(([kind, what]) => `${kind} ${what}`).join(', ')}; l0 is the lowest layer.`,
  );
  let [part, k] = [names.find((name) => /^[hx]_/.test(name)) ?? names[0], 0];
  const told = toldLine();
  const scale = legend('Colour and bar:');
  const line = curve('The value of the unit along the text');
  const values = () => record.parts[part][k];
  const view = strip('Text, coloured by a unit. Arrow keys move through the text.', (i) => {
    const parts = byLetter(i, (t) => values()[t]);
    told.textContent = `After ${named(i)}: unit ${record.units[part][k]} of ${part} is ${values()[signs[i].last]}.${parts && ` Letter by letter: ${parts}.`}`;
    line.mark(signs[i].last);
  });
  const paint = () => {
    const sound = values().filter(finite);
    const [low, high] = [Math.min(...sound, Infinity), Math.max(...sound, -Infinity)];
    // What has a sign is coloured from zero both ways, a gate from its lowest value to its highest.
    const signed = !(low >= 0);
    const top = Math.max(Math.abs(low), Math.abs(high));
    const [from, range] = signed ? [-top, 2 * top || 1] : [low, high - low || 1];
    const map = signed ? 'both' : 'rising';
    scale.show(map, sound.length ? [0, 1, 2, 3, 4].map((q) => from + (range * q) / 4) : ['none', 'of it', 'is', 'a', 'number']);
    const after = (i) => values()[signs[i].last];
    view.paint((i) => ({ map, share: (after(i) - from) / range, odd: !finite(after(i)) }));
    line.show(values());
    view.again();
  };
  const parts = choice('Part', names.map((name) => [name, name]), (value) => pick(value, record.units[value][0]));
  const units = choice('Unit', [], (value) => pick(part, Number(value)));
  const buttons = [];
  const pick = (name, unit) => {
    part = name;
    k = Math.max(0, record.units[name].indexOf(unit));
    parts.select.value = name;
    units.select.replaceChildren(...record.units[name].map((u) => make('option', { value: u }, `${u}`)));
    units.select.value = record.units[name][k];
    buttons.forEach(([button, d]) => button.setAttribute('aria-pressed', d.part === part && d.unit === record.units[part][k]));
    paint();
  };
  const rows = record.found.map((d) => {
    const button = make('button', { type: 'button', 'aria-label': `${d.detector}: show unit ${d.unit} of ${d.part}` }, d.detector);
    button.addEventListener('click', () => pick(d.part, d.unit));
    buttons.push([button, d]);
    const verdict = Math.abs(d.correlation) > d.chance ? 'more than chance' : 'no more than chance';
    return [button, d.part, d.unit, String(d.correlation), String(d.chance), verdict];
  });
  const finder = table('Unit finder', ['follows', 'part', 'unit', 'correlation', 'by chance', 'verdict'], rows, [0, 1, 5]);
  if (rows.length) root.append(finder);
  const say = (lead, some) => some.length && root.append(make('p', {}, `${lead}: ${some.map(([name, why]) => `${name} (${why})`).join('; ')}.`));
  const untold = Object.entries(record.cannot_tell);
  const [tooShort] = record.tokens.length < 100 ? untold : [];
  if (tooShort) root.append(make('p', {}, `Too short to tell which units follow something: ${tooShort[1]}.`));
  else {
    say('Too short to tell', untold.filter(([, why]) => why.endsWith('needed')));
    say('Nothing to follow', untold.filter(([, why]) => !why.endsWith('needed')));
  }
  root.append(make('div', { class: 'controls' }, parts, units));
  columns(root, [view, scale], [told, line]);
  repaint.push(paint);
  const [best] = [...record.found].sort((a, b) => Math.abs(b.correlation) - b.chance - Math.abs(a.correlation) + a.chance);
  view.choose(opening());
  pick(best ? best.part : part, best ? best.unit : record.units[part][0]);
}

function gatesSection() {
  const root = section(
    'gates',
    'A gate lets through what it is near to 1. Shut is the share of steps below 0.1, open above 0.9. A gate that keeps ' +
      'the state (f of an LSTM, z of a GRU) implies a memory of 1 / (1 - its mean) steps.',
  );
  const gates = record.gates;
  const mean = (a) => a.reduce((all, v) => all + (finite(v) ? v : 0), 0) / a.length;
  const median = (a) => {
    const sorted = a.map((v) => (finite(v) ? v : Infinity)).sort((x, y) => x - y);
    return (sorted[Math.floor((a.length - 1) / 2)] + sorted[Math.floor(a.length / 2)]) / 2;
  };
  const rows = gates.map((g) => [g.name, brief(mean(g.mean)), percent(mean(g.shut)), percent(mean(g.open)), g.lifetime ? brief(median(g.lifetime)) : '']);
  root.append(table('Gates, mean over units', ['gate', 'mean', 'shut', 'open', 'memory, median steps'], rows));

  const told = toldLine();
  let [gate, order] = [gates[0], []];
  const heat = heatMap('Heat map of a gate: a row for each unit, a column for each character', (r, c) => {
    const k = order[r];
    told.textContent = `Unit ${record.units[gate.name][k]} of ${gate.name} after ${namedToken(c)}: ${record.parts[gate.name][k][c]}.`;
  });
  const scale = legend('Value of the gate:');
  const dots = scatter();
  const units = table('Units', ['unit', 'shut', 'open', 'mean', 'memory, steps'], []);
  units.classList.add('tall');
  const paint = () => {
    scale.show('rising', [0, 0.25, 0.5, 0.75, 1]);
    heat.show(order.length, tokens.length, (r, c) => record.parts[gate.name][order[r]][c]);
    dots.show(gate);
  };
  const pick = (name) => {
    gate = gates.find((g) => g.name === name);
    const ids = record.units[name];
    order = ids.map((_, k) => k).sort((a, b) => gate.mean[ids[b]] - gate.mean[ids[a]]);
    units.show(gate.mean.map((m, u) => [u, String(gate.shut[u]), String(gate.open[u]), String(m), gate.lifetime ? String(gate.lifetime[u]) : '']));
    paint();
  };
  const choose = choice('Gate', gates.map((g) => [g.name, g.name]), pick);
  root.append(make('div', { class: 'controls' }, choose));
  root.append(make('h3', {}, 'Over the text: units from the most open down, characters from left to right'), heat, scale, told);
  root.append(make('h3', {}, 'Saturation: each dot is a unit'));
  columns(root, [dots], [dots.told, make('details', {}, make('summary', {}, 'All units as a table'), units)]);
  repaint.push(paint);
  const keeps = gates.find((g) => g.lifetime) ?? gates[0];
  choose.select.value = keeps.name;
  pick(keeps.name);
  addEventListener('resize', paint);
}

/** Share of steps shut against share open, a dot for each unit, darker where it remembers for longer. */
function scatter() {
  const size = 340;
  const [left, low] = [66, 40];
  const [x, y] = [(v) => left + v * (size - left - 26), (v) => size - low - v * (size - low - 10)];
  const svg = make('svg', { viewBox: `0 0 ${size} ${size}`, width: size, role: 'group', 'aria-label': 'Saturation scatter. Arrow keys move from unit to unit.' });
  const axes = make('path', { class: 'axis', d: `M${x(0)} ${y(1)}V${y(0)}H${x(1)}L${x(0)} ${y(1)}` });
  const marks = [0, 0.5, 1].flatMap((v) => [
    make('text', { x: x(v), y: y(0) + 16, 'text-anchor': 'middle' }, `${100 * v} %`),
    make('text', { x: left - 5, y: y(v) + 4, 'text-anchor': 'end' }, `${100 * v} %`),
  ]);
  const names = [
    make('text', { x: x(0.5), y: size - 6, 'text-anchor': 'middle' }, 'open (above 0.9)'),
    make('text', { x: 12, y: y(0.5), 'text-anchor': 'middle', transform: `rotate(-90 12 ${y(0.5)})` }, 'shut (below 0.1)'),
  ];
  const told = toldLine();
  const scale = legend('Memory in steps:');
  const root = make('div', {}, svg, scale);
  let chosen = 0;
  root.told = told;
  root.show = (gate) => {
    const memory = (u) => (gate.lifetime === null ? null : finite(gate.lifetime[u]) ? gate.lifetime[u] : Infinity);
    const share = (u) => (gate.lifetime === null ? 0.5 : Math.min(1, Math.log10(Math.max(1, memory(u))) / 2));
    scale.hidden = gate.lifetime === null;
    scale.show('rising', ['1', '3', '10', '32', '100+']);
    const order = gate.mean.map((_, u) => u).sort((a, b) => gate.mean[a] - gate.mean[b]);
    const dots = order.map((u) => make('circle', { class: 'dot', tabindex: -1, role: 'img', r: 5, cx: x(gate.open[u]), cy: y(gate.shut[u]), fill: css(colour('rising', share(u))) }));
    const see = (n) => {
      svg.querySelector('.chosen')?.classList.remove('chosen');
      dots[n].classList.add('chosen');
      const u = order[n];
      const stays = gate.lifetime === null ? '' : ` Memory: ${gate.lifetime[u]} steps.`;
      told.textContent = `Unit ${u} of ${gate.name}: shut ${gate.shut[u]}, open ${gate.open[u]}, mean ${gate.mean[u]}.${stays}`;
      dots[n].setAttribute('aria-label', told.textContent);
    };
    const choose = (n) => {
      dots[Math.min(chosen, dots.length - 1)].setAttribute('tabindex', -1);
      chosen = n;
      dots[n].setAttribute('tabindex', 0);
      see(n);
    };
    dots.forEach((dot, n) => {
      dot.addEventListener('pointerenter', () => see(n));
      dot.addEventListener('focus', () => choose(n));
      dot.addEventListener('click', () => dot.focus());
      dot.addEventListener('keydown', (event) => {
        const step = { ArrowLeft: -1, ArrowUp: -1, ArrowRight: 1, ArrowDown: 1 }[event.key];
        if (!step) return;
        event.preventDefault();
        dots[Math.min(Math.max(n + step, 0), dots.length - 1)].focus();
      });
    });
    svg.replaceChildren(axes, ...marks, ...names, ...dots);
    choose(Math.min(chosen, dots.length - 1));
  };
  return root;
}

function healthSection() {
  const root = section('health');
  const words = record.health.flatMap((one) => one.words);
  root.append(make('ul', {}, ...(words.length ? words : ['Nothing stands out.']).map((text) => make('li', {}, text))));
  const rows = record.health.map((one) => [one.layer, one.units, one.constant, one.stuck, one.lost, String(one.std)]);
  root.append(table('Layers over this text', ['layer', 'units', 'never change', 'stuck beyond 0.99', 'not finite', 'mean deviation'], rows));
}

function start() {
  document.documentElement.dataset.theme = 'light';
  main.append(make('ul', { class: 'facts' }, ...Object.entries(record.facts).map(([name, value]) => make('li', {}, make('b', {}, name), ` ${value}`))));
  const links = record.shown.map((id) => make('li', {}, make('a', { href: `#${id}` }, TITLES[id])));
  main.append(make('nav', { 'aria-label': 'Sections' }, make('ul', {}, ...links)));
  if (record.notes.length) main.append(make('ul', { class: 'notes' }, ...record.notes.map((text) => make('li', {}, text))));
  const builders = { saliency: saliencySection, units: unitsSection, gates: gatesSection, attention: attentionSection, health: healthSection };
  record.shown.forEach((id) => builders[id]());
  const left = Object.entries(record.left_out);
  if (left.length) main.append(make('section', { id: 'left-out' }, make('h2', {}, 'Left out'), ...left.map(([id, why]) => make('p', {}, `${TITLES[id]}: ${why}`))));
  startThemes();
}

start();
