/**
 * Serves the view samples as the edge does: rendered by eta, under the content security policy of the pages, with the
 * stylesheet, the theme and the icon. `?accent=rrggbb` chooses another accent.
 */
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { Eta } from 'eta';
import { DEFAULT_ACCENT, type Page, type Shell, themeStylesheet } from '../../src/protocol/page.ts';
import { formPostSample, frontchannelLogoutSample, type ViewSample, viewSamples } from './view-samples.ts';

const VIEWS = fileURLToPath(new URL('../../views', import.meta.url));
const eta = new Eta({ views: VIEWS, cache: true });

/** The page as the edge renders it. */
export function renderView(page: Page, shell: Shell): string {
  return eta.render(page.view, { ...page, shell });
}

export interface ViewServer {
  readonly url: string;
  /** What the browser reported against the policy. */
  readonly violations: readonly string[];
  /** The forms that reached the client's redirect URI, which is on another origin. */
  readonly received: readonly URLSearchParams[];
  /** What its other addresses were asked for by GET, in order. */
  readonly visited: readonly string[];
  close(): Promise<void>;
}

export async function serveViews(): Promise<ViewServer> {
  const violations: string[] = [];
  const received: URLSearchParams[] = [];
  const visited: string[] = [];

  const client = createServer(async (request, response) => {
    if (request.method === 'POST') received.push(new URLSearchParams(await text(request)));
    else if (request.url !== '/favicon.ico') visited.push(request.url ?? '');
    // Never answers while the client is there: a frame that keeps everybody waiting.
    if (request.url === '/hang') return;
    response.setHeader('content-type', 'text/html').end('<!doctype html><title>Client</title><h1>Arrived</h1>');
  });
  const clientUrl = await listen(client);
  const acting = [
    formPostSample(`${clientUrl}/callback`, 'photos.example'),
    frontchannelLogoutSample([`${clientUrl}/out?sid=1`, `${clientUrl}/out?sid=2`], `${clientUrl}/bye?state=%22`),
    { ...frontchannelLogoutSample([`${clientUrl}/hang`], `${clientUrl}/bye`), id: 'frontchannel-logout-hanging' },
  ];
  const samples = new Map([...viewSamples, ...acting].map(bySample));

  const server = createServer(async (request, response) => {
    const { pathname, searchParams } = new URL(request.url ?? '/', 'http://views.invalid');
    const accent = searchParams.get('accent');
    const sample = samples.get(pathname.slice(1));
    if (pathname === '/csp-report') {
      violations.push(await text(request));
      response.writeHead(204).end();
    } else if (pathname === '/gatehouse.css') {
      response.setHeader('content-type', 'text/css').end(await readFile(`${VIEWS}/gatehouse.css`));
    } else if (pathname === '/theme.css') {
      response.setHeader('content-type', 'text/css').end(themeStylesheet(accent ? `#${accent}` : DEFAULT_ACCENT));
    } else if (pathname === '/favicon.svg') {
      response.setHeader('content-type', 'image/svg+xml').end(await readFile(`${VIEWS}/favicon.svg`));
    } else if (sample) {
      response.setHeader('content-type', 'text/html; charset=utf-8');
      response.setHeader('content-security-policy', policy(sample.page, clientUrl));
      response.end(renderView(sample.page, shell(sample, accent)));
    } else {
      response.writeHead(404).end();
    }
  });
  const url = await listen(server);
  return {
    url,
    violations,
    received,
    visited,
    close: () => Promise.all([stop(server), stop(client)]).then(() => undefined),
  };
}

function bySample(sample: ViewSample): [string, ViewSample] {
  return [sample.id, sample];
}

function shell(sample: ViewSample, accent: string | null): Shell {
  return {
    brand: sample.brand ?? { name: 'Gatehouse' },
    stylesheetUrl: '/gatehouse.css',
    themeUrl: accent ? `/theme.css?accent=${accent}` : '/theme.css',
    faviconUrl: '/favicon.svg',
    requestId: '0198b2f4-6c1e-7d30-9a55-3f8e2b7c4d10',
    stateCookie: 'gatehouse_state',
  };
}

function policy(page: Page, clientUrl: string): string {
  const script = 'script' in page ? createHash('sha256').update(page.script).digest('base64') : undefined;
  return [
    "default-src 'none'",
    ...(script === undefined ? [] : [`script-src 'sha256-${script}'`]),
    ...(page.view === 'frontchannel-logout' ? [`frame-src ${clientUrl}`] : []),
    "style-src 'self'",
    "img-src 'self' data:",
    `form-action 'self' ${clientUrl}`,
    "frame-ancestors 'none'",
    "base-uri 'none'",
    'report-uri /csp-report',
  ].join('; ');
}

async function listen(server: Server): Promise<string> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

async function stop(server: Server): Promise<void> {
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
}
