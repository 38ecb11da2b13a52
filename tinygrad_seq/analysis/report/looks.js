'use strict';
// Themes, colours and numbers. A number is shown as the data has it; NaN, inf and -inf are words there.

const record = JSON.parse(document.getElementById('data').textContent);
const repaint = []; // what is called when the colours change

const MAPS = {
  light: {
    rising: [[255, 255, 255], [198, 219, 239], [107, 174, 214], [33, 113, 181], [8, 48, 107]],
    unseen: [226, 230, 236],
    both: [[33, 102, 172], [146, 197, 222], [255, 255, 255], [253, 184, 99], [179, 88, 6]],
  },
  dark: {
    rising: [[22, 24, 29], [45, 66, 110], [56, 116, 160], [120, 180, 190], [246, 240, 160]],
    unseen: [58, 64, 76],
    both: [[122, 182, 250], [52, 88, 135], [22, 24, 29], [140, 84, 24], [255, 176, 90]],
  },
};

const finite = (v) => typeof v === 'number';
const theme = () => document.documentElement.dataset.theme;

/** A colour [r, g, b] of a map, for a share from 0 to 1. */
function colour(map, share) {
  const stops = MAPS[theme()][map];
  const at = Math.min(Math.max(share, 0), 1) * (stops.length - 1);
  const k = Math.min(Math.floor(at), stops.length - 2);
  return stops[k].map((c, i) => Math.round(c + (at - k) * (stops[k + 1][i] - c)));
}

const css = (rgb) => `rgb(${rgb.join(', ')})`;

/** Black or white, whichever is read better on a colour (relative luminance of WCAG 2). */
function inkOn(rgb) {
  const [r, g, b] = rgb.map((c) => (c <= 10 ? c / 3294 : ((c / 255 + 0.055) / 1.055) ** 2.4));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b > 0.179 ? '#000000' : '#ffffff';
}

/** Three digits of a number that was computed here. */
const brief = (v) => (finite(v) ? String(Number(v.toPrecision(3))) : String(v));
const percent = (v) => (finite(v) ? `${(100 * v).toFixed(v < 0.1 ? 1 : 0)} %` : v);

/** An element with attributes and children; text is always text. */
function make(tag, attributes = {}, ...children) {
  const svg = ['svg', 'path', 'circle', 'line', 'text', 'rect', 'title'].includes(tag);
  const element = svg ? document.createElementNS('http://www.w3.org/2000/svg', tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/** A legend: five colours with the numbers they stand for. */
function legend(says) {
  const root = make('div', { class: 'legend' });
  root.show = (map, values) => {
    root.replaceChildren(make('span', { class: 'says' }, says));
    values.forEach((value, k) => {
      const rgb = colour(map, k / (values.length - 1));
      const swatch = make('span', { class: 'swatch' }, finite(value) ? brief(value) : value);
      swatch.style.background = css(rgb);
      swatch.style.color = inkOn(rgb);
      root.append(swatch);
    });
  };
  return root;
}

function startThemes() {
  const button = document.getElementById('theme');
  const system = matchMedia('(prefers-color-scheme: dark)');
  const set = (dark) => {
    document.documentElement.dataset.theme = dark ? 'dark' : 'light';
    button.textContent = dark ? 'Light colours' : 'Dark colours';
    repaint.forEach((paint) => paint());
  };
  let chosen = false;
  button.addEventListener('click', () => {
    chosen = true;
    set(theme() !== 'dark');
  });
  system.addEventListener('change', () => chosen || set(system.matches));
  let before = null;
  addEventListener('beforeprint', () => {
    before = theme();
    set(false);
  });
  addEventListener('afterprint', () => set(before === 'dark'));
  set(system.matches);
}
