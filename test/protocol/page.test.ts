import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { CHECK_SESSION_SCRIPT, errorPage, FORM_POST_SCRIPT, GO_ON_SCRIPT } from '../../src/protocol/page.ts';
import { viewSamples } from '../support/view-samples.ts';
import { renderView } from '../support/view-server.ts';

const VIEWS = new URL('../../views/', import.meta.url);

describe('the templates', () => {
  const templates = readdirSync(VIEWS, { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.eta'));
  const sources = templates.map((name) => ({ name, source: readFileSync(new URL(name, VIEWS), 'utf8') }));

  test.each(sources)('$name prints, loops and branches, and does nothing else', ({ name, source }) => {
    const path = String.raw`[a-zA-Z]+(\.[a-zA-Z]+)*`;
    const allowed = [
      new RegExp(`^= ${path}$`),
      new RegExp(
        String.raw`^~ include\('\./(partials/)?[a-z-]+'(, \{ ${path}(: ${path})?(, ${path}: ${path})* \})?\)$`,
      ),
      /^ layout\('\.\/layout', \{ title: ('[^']*'|it\.heading), frame: '(narrow|wide)'(, refresh: it\.refresh)? \}\)$/,
      new RegExp(String.raw`^ if \(${path}\) \{$`),
      new RegExp(String.raw`^ ${path}\.forEach\(\([a-z]+\) => \{$`, 'i'),
      /^ \} else \{$/,
      /^ \}\)?$/,
      // The page inside the layout, already rendered and escaped.
      ...(name === 'layout.eta' ? [/^~ it\.body$/] : []),
    ];
    const statements = [...source.matchAll(/<%(.*?) ?%>/gs)].map(([, statement = '']) => statement);
    expect(statements.filter((statement) => !allowed.some((shape) => shape.test(statement)))).toEqual([]);
  });

  test.each(sources)('$name holds no style and no script of its own', ({ source }) => {
    expect(source).not.toMatch(/<style|\sstyle=|\son[a-z]+=|javascript:/i);
    // Nothing but data may stand in the tag: what is printed there is not under the hash.
    expect(source.match(/<script.*/g) ?? []).toEqual(
      source.includes('it.script')
        ? [expect.stringMatching(/^<script( data-[a-z]+="<%= [\w.]+ %>")?><%= it\.script %><\/script>$/)]
        : [],
    );
  });

  test('every page has samples, and every sample prints all it names', () => {
    const pages = templates.filter((name) => !name.startsWith('partials') && name !== 'layout.eta');
    // Pages that act by themselves have tests of their own.
    const acting = ['form-post', 'frontchannel-logout', 'check-session'];
    const sampled = new Set([...acting, ...viewSamples.map(({ page }) => page.view)]);
    expect(pages.map((name) => name.replace('.eta', '')).sort()).toEqual([...sampled].sort());
    for (const { page, brand = { name: 'Gatehouse' } } of viewSamples) {
      const shell = { brand, stylesheetUrl: '/s', themeUrl: '/t', faviconUrl: '/f', requestId: 'r', stateCookie: 'c' };
      expect(renderView(page, shell)).not.toMatch(/undefined|null|NaN|\[object/);
    }
  });
});

describe('an error page', () => {
  test.each([
    [400, 'Something is wrong with this request'],
    [401, 'Something is wrong with this request'],
    [404, 'There is nothing here'],
    [405, 'This page does not work that way'],
    [429, 'Too many attempts'],
    [503, 'Back in a moment'],
  ])('of status %i is headed "%s"', (status, heading) => {
    expect(errorPage(status, 'Try again.')).toEqual({ view: 'error', heading, description: 'Try again.' });
    expect(errorPage(status, 'Try again.', 'invalid_request')).toMatchObject({ heading, code: 'invalid_request' });
  });
});

test.each(Object.entries({ FORM_POST_SCRIPT, GO_ON_SCRIPT, CHECK_SESSION_SCRIPT }))(
  'escaping leaves %s as it is, so its hash is that of what is sent',
  (_name, script) => {
    expect(script).not.toMatch(/[&<>"']/);
  },
);

test.each(Object.entries({ FORM_POST_SCRIPT, GO_ON_SCRIPT }))('%s is for the oldest of engines', (_name, script) => {
  expect(script).not.toMatch(/=>|\b(class|const|let|async|await|import|export)\b|[?][.]|`/);
});
