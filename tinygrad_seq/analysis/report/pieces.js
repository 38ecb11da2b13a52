// Pieces that several sections are built of: tables, choices, heat maps, charts.

/** A table in a box that scrolls by itself; rows are lists of text, numbers or elements. */
function table(caption, heads, rows, words = []) {
  const cell = (tag, v, k) => make(tag, words.includes(k) ? { class: 'word' } : {}, v instanceof Node ? v : String(v));
  const body = make('tbody');
  const show = (lines) => body.replaceChildren(...lines.map((line) => make('tr', {}, ...line.map((v, k) => cell('td', v, k)))));
  const head = make('tr');
  heads.forEach((name, k) => {
    const one = cell('th', name, k);
    one.setAttribute('scope', 'col');
    head.append(one);
  });
  show(rows);
  const box = make('div', { class: 'scroll' }, make('table', {}, make('caption', {}, caption), make('thead', {}, head), body));
  box.show = show;
  box.body = body;
  return box;
}

/** A labelled select; options are [value, text]. */
function choice(label, options, changed) {
  const select = make('select', {}, ...options.map(([value, text]) => make('option', { value }, text)));
  select.addEventListener('change', () => changed(select.value));
  const root = make('label', {}, label, select);
  root.select = select;
  return root;
}

/** A line for the numbers that is read out when it changes. */
const toldLine = () => make('p', { class: 'told', 'aria-live': 'polite' });

/** A field of cells; value(row, column) is from 0 to 1, null for none; see(row, column) tells the numbers. */
function heatMap(label, see, square = false) {
  const canvas = make('canvas', { tabindex: 0, role: 'application', 'aria-label': `${label}. Arrow keys move from cell to cell.` });
  const cursor = make('div', { class: 'cursor' });
  const field = make('div', { class: 'field' }, canvas, cursor);
  const root = make('div', { class: 'heat' }, field);
  let [rows, columns, wide, high, value, at] = [1, 1, 1, 1, () => null, [0, 0]];
  const move = (r, c) => {
    at = [Math.min(Math.max(r, 0), rows - 1), Math.min(Math.max(c, 0), columns - 1)];
    Object.assign(cursor.style, { left: `${at[1] * wide - 2}px`, top: `${at[0] * high - 2}px`, width: `${wide + 4}px`, height: `${high + 4}px` });
    see(...at);
  };
  const paint = () => {
    const pen = canvas.getContext('2d');
    const image = pen.createImageData(columns, rows);
    for (let r = 0; r < rows; r++) {
      for (let c = 0; c < columns; c++) {
        const v = value(r, c);
        // What is no number is a checked grey.
        const rgb = v === null ? MAPS[theme()].unseen : finite(v) ? colour('rising', v) : (r + c) % 2 ? [90, 90, 90] : [170, 170, 170];
        image.data.set([...rgb, 255], 4 * (r * columns + c));
      }
    }
    pen.putImageData(image, 0, 0);
  };
  root.show = (r, c, of) => {
    [rows, columns, value] = [r, c, of];
    canvas.width = columns;
    canvas.height = rows;
    const room = (root.parentElement?.clientWidth || 600) - 12;
    wide = Math.max(square ? 1 : 2, Math.min(14, room / columns));
    high = Math.max(square ? 1 : 2, Math.min(12, (square ? 576 : 360) / rows));
    if (square) wide = high = Math.min(wide, high);
    Object.assign(canvas.style, { width: `${columns * wide}px`, height: `${rows * high}px` });
    Object.assign(field.style, { width: `${columns * wide}px`, height: `${rows * high}px` });
    paint();
    move(...at);
  };
  canvas.addEventListener('pointermove', (event) => move(Math.floor(event.offsetY / high), Math.floor(event.offsetX / wide)));
  canvas.addEventListener('keydown', (event) => {
    const steps = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1], Home: [0, -columns], End: [0, columns] };
    if (!(event.key in steps)) return;
    event.preventDefault();
    move(at[0] + steps[event.key][0], at[1] + steps[event.key][1]);
    cursor.scrollIntoView({ block: 'nearest', inline: 'nearest' });
  });
  root.paint = paint;
  return root;
}

/** A curve over the tokens with a mark at one of them. */
function curve(label) {
  const [width, height, left, low] = [400, 140, 52, 20];
  const path = make('path', { class: 'curve' });
  const now = make('line', { class: 'now', y1: 4, y2: height - low });
  const [top, bottom] = [make('text', { x: left - 6, y: 14, 'text-anchor': 'end' }), make('text', { x: left - 6, y: height - low, 'text-anchor': 'end' })];
  const zero = make('path', { class: 'axis' });
  const ends = [
    make('text', { x: left, y: height - 4 }, '1'),
    make('text', { x: width, y: height - 4, 'text-anchor': 'end' }, `token ${tokens.length}`),
  ];
  const root = make('svg', { viewBox: `0 0 ${width} ${height}`, role: 'img', 'aria-label': label }, zero, path, now, top, bottom, ...ends);
  const x = (i) => left + ((width - left) * (i + 0.5)) / tokens.length;
  root.show = (values) => {
    const sound = values.filter(finite);
    const [lowest, highest] = [Math.min(0, ...sound), Math.max(0, ...sound)];
    const y = (v) => 4 + ((height - low - 4) * (highest - v)) / (highest - lowest || 1);
    let pen = 'M';
    const points = values.map((v, i) => {
      if (!finite(v)) {
        pen = 'M';
        return '';
      }
      const piece = `${pen}${x(i).toFixed(1)} ${y(v).toFixed(1)}`;
      pen = 'L';
      return piece;
    });
    path.setAttribute('d', points.join('') || 'M0 0');
    zero.setAttribute('d', `M${left} ${y(0)}H${width}M${left} 4V${height - low}`);
    top.textContent = brief(highest);
    bottom.textContent = brief(lowest);
  };
  root.mark = (i) => {
    now.setAttribute('x1', x(i));
    now.setAttribute('x2', x(i));
  };
  return root;
}
