/**
 * Endpoints that people visit: pages and redirects. Forms from elsewhere are refused by their origin before their token
 * is looked at; redirects after a form are 303, so that no browser repeats a POST with a password in it (RFC 9700 §4.12).
 */
import { createHash } from 'node:crypto';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { AuthorizationServer } from '../protocol/authorization-server.ts';
import type { BrowserEndpoint } from '../protocol/feature.ts';
import { formRefused } from '../protocol/interaction.ts';
import type { BrowserRequest, BrowserResponse } from '../protocol/message.ts';
import {
  CHECK_SESSION_SCRIPT,
  errorPage,
  FORM_POST_SCRIPT,
  GO_ON_SCRIPT,
  type Page,
  type Shell,
} from '../protocol/page.ts';
import type { Cookies } from './cookies.ts';
import { note, tellable } from './errors.ts';
import { setFramedPageHeaders, setPageHeaders } from './headers.ts';
import { toEndpointRequest } from './message.ts';
import { route } from './routes.ts';

export interface BrowserEdge {
  readonly server: AuthorizationServer;
  readonly cookies: Cookies;
  readonly shell: Omit<Shell, 'requestId' | 'stateCookie'>;
}

/** Bytes. Requests with request objects will be the largest. */
const BODY_LIMIT = 64 * 1024;

/** What CSP knows each page's one script by. */
const SCRIPT_HASHES = {
  'form-post': hashOf(FORM_POST_SCRIPT),
  'frontchannel-logout': hashOf(GO_ON_SCRIPT),
  'check-session': hashOf(CHECK_SESSION_SCRIPT),
} as const;

function hashOf(script: string): string {
  return `sha256-${createHash('sha256').update(script).digest('base64')}`;
}

export function browserEndpoints(app: FastifyInstance, edge: BrowserEdge, endpoints: readonly BrowserEndpoint[]): void {
  app.setErrorHandler((error, request, reply) => showError(error, request, reply, edge));
  for (const endpoint of endpoints) {
    const { get, post } = endpoint;
    const handlers = {
      ...(get && {
        GET: async (request: FastifyRequest, reply: FastifyReply) =>
          send(await get(toBrowserRequest(request, edge), edge.server), request, reply, edge),
      }),
      ...(post && {
        POST: async (request: FastifyRequest, reply: FastifyReply) => {
          if (!endpoint.crossOrigin) refuseForeignForm(request, edge.server.issuer);
          return send(await post(toBrowserRequest(request, edge), edge.server), request, reply, edge);
        },
      }),
    };
    route(app, endpoint, handlers, { bodyLimit: BODY_LIMIT });
  }
}

function toBrowserRequest(request: FastifyRequest, { server, cookies }: BrowserEdge): BrowserRequest {
  return {
    ...toEndpointRequest(request, server.context.now()),
    cookie: (name) => cookies.read(request, name),
  };
}

/**
 * RFC 9700 §4.7, next to the form's own token. `Origin: null` comes from sandboxed frames and strict referrer policies:
 * then `Sec-Fetch-Site`, which no script can set, has to say that it was us. A caller that sends neither header is no
 * current browser, and nothing rides on its cookies but the token it must know.
 */
function refuseForeignForm({ headers }: FastifyRequest, issuer: string): void {
  const site = headers['sec-fetch-site'];
  if (headers.origin !== undefined && headers.origin !== 'null') {
    if (headers.origin !== issuer) throw formRefused();
  } else if (site !== 'same-origin' && (headers.origin === 'null' || site !== undefined)) throw formRefused();
}

async function send(response: BrowserResponse, request: FastifyRequest, reply: FastifyReply, edge: BrowserEdge) {
  for (const change of response.cookies ?? []) edge.cookies.change(reply, change);
  if (response.retryAfter !== undefined) reply.header('retry-after', String(response.retryAfter));
  if (response.cause !== undefined) note(request, response.cause, tellable(response.cause));
  if (response.kind === 'page') return render(response.page, response.status ?? 200, response.formTarget, reply, edge);
  return (
    reply
      .header('cache-control', 'no-store')
      // What follows may be a client's address with a code in it: it learns nothing of ours, and nobody of its.
      .header('referrer-policy', 'no-referrer')
      .redirect(response.location, 303)
  );
}

export function render(
  page: Page,
  status: number,
  formTarget: string | undefined,
  reply: FastifyReply,
  edge: BrowserEdge,
) {
  if (page.view === 'check-session') setFramedPageHeaders(reply, SCRIPT_HASHES[page.view]);
  else {
    setPageHeaders(reply, {
      formTarget,
      scriptHash: 'script' in page ? SCRIPT_HASHES[page.view] : undefined,
      frames: page.view === 'frontchannel-logout' ? page.frames : [],
      // The page of form_post sends a code to another site.
      referrer: page.view === 'form-post' ? 'no-referrer' : 'same-origin',
    });
  }
  const shell: Shell = { ...edge.shell, requestId: reply.request.id, stateCookie: edge.cookies.nameOf('state') };
  return reply.code(status).viewAsync(page.view, { ...page, shell });
}

/** Errors that are shown: at the address that was asked for, with the code and a reference, and no way on. */
export function showError(error: unknown, request: FastifyRequest, reply: FastifyReply, edge: BrowserEdge) {
  const told = tellable(error);
  note(request, error, told);
  reply.headers(told.headers);
  return render(errorPage(told.status, told.message, told.code), told.status, undefined, reply, edge);
}
