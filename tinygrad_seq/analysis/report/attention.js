// Attention: all heads at a glance, one of them over the text, and its weights from each token to each.

const seenFrom = record.starts;

/** The weight that token t gives to token c, null where it cannot see it. */
const weightOf = (rows, t, c) => (c > t || c < seenFrom[t] ? null : rows[t][c - seenFrom[t]]);

/** How much character i looks at each up to itself: the weights of a character's tokens added up, the mean over its own. */
function attentionOf(rows, i) {
  const { letters } = signs[i];
  const found = Array(i + 1).fill(null);
  for (const { i: t } of letters) {
    for (let c = seenFrom[t]; c <= t; c++) {
      const [weight, j] = [weightOf(rows, t, c), signOf[c]];
      if (!finite(weight)) found[j] = weight;
      else if (found[j] === null || finite(found[j])) found[j] += weight / letters.length;
    }
  }
  return spelt ? found.map((v) => (finite(v) ? Number(v.toPrecision(4)) : v)) : found;
}

/** The windows in which the text was read, of the first `count` tokens: {start, first, stop}. */
function windowsOf(count) {
  const found = [];
  seenFrom.slice(0, count).forEach((start, t) => {
    const last = found.at(-1);
    if (last && last.start === start) last.stop = t + 1;
    else found.push({ start, first: t, stop: t + 1 });
  });
  return found;
}

/** A small picture of each head, a row for each layer; a button that shows it. Arrow keys move from one to the next. */
function headPictures(layers, count, pick) {
  const side = Math.min(72, count);
  const root = make('div', { class: 'heads', role: 'group', 'aria-label': 'All heads. Arrow keys move from head to head.' });
  const buttons = layers.flatMap((one) => {
    const row = make('div', { class: 'layer' }, make('span', { class: 'quiet' }, one.layer));
    root.append(row);
    return one.weights.map((rows, h) => {
      const canvas = make('canvas', { width: side, height: side, 'aria-hidden': true });
      const button = make('button', { type: 'button', tabindex: -1, 'aria-label': `Map of ${one.layer}, head ${h}` }, canvas, make('span', {}, `head ${h}`));
      button.addEventListener('click', () => pick(one.layer, h));
      row.append(button);
      return { button, canvas, rows, layer: one.layer, h };
    });
  });
  root.addEventListener('keydown', (event) => {
    const step = { ArrowLeft: -1, ArrowUp: -1, ArrowRight: 1, ArrowDown: 1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const from = buttons.findIndex(({ button }) => button === document.activeElement);
    const to = buttons[Math.min(Math.max(from + step, 0), buttons.length - 1)];
    to.button.focus();
    pick(to.layer, to.h);
  });
  root.paint = () => {
    const steps = Array.from({ length: 65 }, (_, k) => colour('rising', Math.sqrt(k / 64)));
    const none = MAPS[theme()].unseen;
    for (const { canvas, rows } of buttons) {
      // Of the cells that fall together, the largest is shown.
      const cells = Array(side * side).fill(-1);
      for (let t = 0; t < count; t++) {
        const r = Math.floor((t * side) / count);
        for (let c = seenFrom[t]; c <= t; c++) {
          const at = r * side + Math.floor((c * side) / count);
          const weight = rows[t][c - seenFrom[t]];
          if (finite(weight) && weight > cells[at]) cells[at] = weight;
        }
      }
      const pen = canvas.getContext('2d');
      const image = pen.createImageData(side, side);
      cells.forEach((v, at) => image.data.set([...(v < 0 ? none : steps[Math.min(64, Math.round(64 * v))]), 255], 4 * at));
      pen.putImageData(image, 0, 0);
    }
  };
  root.choose = (layer, h) =>
    buttons.forEach((one) => {
      const chosen = one.layer === layer && one.h === h;
      one.button.setAttribute('aria-pressed', chosen);
      one.button.setAttribute('tabindex', chosen ? 0 : -1);
    });
  return root;
}

function attentionSection() {
  const root = section(
    'attention',
    'How much each character looks at those before it and at itself when it is read. Entropy in nats is 0 where a head looks at one ' +
      'place alone; distance is the mean number of steps back.',
    ...(spelt ? ['Over the text, the weights of the tokens of one character are added up, and the mean over its own tokens is taken. The maps show each token.'] : []),
  );
  const layers = record.attention;
  const count = layers[0].weights[0].length; // tokens, of which the page may hold less than all
  const whole = signs.filter((one) => one.last < count).length;
  const windows = windowsOf(count);
  // Of a map that is too large to be painted at once, its windows are shown alone.
  const parts = windows.length === 1 ? windows : [...(count > 1000 ? [] : [{ start: 0, first: 0, stop: count }]), ...windows];
  let [layer, head, part] = [layers[0], 0, parts[0]];
  const rows = () => layer.weights[head];
  const buttons = [];
  const heads = layers.flatMap((one) =>
    one.weights.map((_, h) => {
      const button = make('button', { type: 'button', 'aria-label': `${one.layer}, head ${h}: show it` }, `${one.layer}, head ${h}`);
      button.addEventListener('click', () => pick(one.layer, h));
      buttons.push([button, one.layer, h]);
      return [button, String(one.entropy[h]), String(one.distance[h])];
    }),
  );
  const pictures = headPictures(layers, count, (name, h) => pick(name, h));
  root.append(make('h3', {}, 'All heads: a row of a map looks at its columns'), pictures);
  root.append(table('Heads', ['show', 'entropy, nats', 'distance, steps'], heads));
  const words = (i, values) => {
    const [first] = largest(values, 1);
    return first ? `${named(i)} looks most at ${named(first[1])}, ${i - first[1]} before: ${first[0]}.` : `${named(i)}: no weights.`;
  };
  const controls = make('div', { class: 'controls' });
  const { view, told, scale, best } = dependence(root, controls, 'Text, coloured by attention', (i) => attentionOf(rows(), i), () => 1, ['character', 'before', 'weight', 'share'], words, [], whole);
  const cell = toldLine();
  const heat = heatMap('Heat map of a head: a row for each character that looks, a column for each that is seen', (r, c) => {
    const [t, s] = [r + part.first, c + part.start];
    const why = s > t ? 'it comes later' : 'it is before its window';
    const weight = weightOf(rows(), t, s);
    cell.textContent = weight === null ? `${namedToken(t)} cannot see ${namedToken(s)}: ${why}.` : `${namedToken(t)} at ${namedToken(s)}: ${weight}.`;
  }, true);
  const heatScale = legend('Weight:');
  const paint = () => {
    heatScale.show('rising', quarters(1));
    heatScale.append(make('span', { class: 'swatch unseen' }, 'not seen'));
    heat.show(part.stop - part.first, part.stop - part.start, (r, c) => {
      const weight = weightOf(rows(), r + part.first, c + part.start);
      return finite(weight) ? Math.sqrt(weight) : weight;
    });
  };
  const repaintAll = () => {
    pictures.paint();
    paint();
  };
  const pick = (name, h) => {
    [layer, head] = [layers.find((one) => one.layer === name), h];
    layerChoice.select.value = name;
    headChoice.select.value = h;
    pictures.choose(name, h);
    buttons.forEach(([button, l, n]) => button.setAttribute('aria-pressed', l === name && n === h));
    paint();
    view.again();
  };
  const layerChoice = choice('Layer', layers.map((one) => [one.layer, one.layer]), (value) => pick(value, head));
  const headChoice = choice('Head', layer.weights.map((_, h) => [h, h]), (value) => pick(layer.layer, Number(value)));
  controls.prepend(layerChoice, headChoice);
  root.append(controls);
  columns(root, [view, scale], [told, best]);
  root.append(make('h3', {}, 'One head: a row looks at its columns'));
  if (parts.length > 1) {
    const names = parts.map(({ first, stop }, k) => [k, stop - first === count ? `all ${count}` : `${first + 1} to ${stop}`]);
    root.append(make('div', { class: 'controls' }, choice('Tokens that look', names, (k) => {
      part = parts[k];
      paint();
    })));
  }
  root.append(heat, heatScale, cell);
  repaint.push(repaintAll);
  view.choose(opening(whole));
  pick(layers[0].layer, 0);
  addEventListener('resize', paint);
}

