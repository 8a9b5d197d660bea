/**
 * A person's browser without a browser: cookies, forms, redirects, over real HTTP. For everything that is not about
 * rendering; Chromium is in test/browser.
 */
import { createHash, randomBytes } from 'node:crypto';
import type { TestServer } from './server.ts';

export interface Visit {
  readonly status: number;
  readonly url: string;
  readonly headers: Headers;
  readonly body: string;
  /** Where a redirect points that was not followed. */
  readonly location: string | undefined;
}

/** A form on a page: where it goes and its fields. */
export interface PageForm {
  readonly action: string;
  readonly fields: Record<string, string>;
}

export class TestBrowser {
  readonly cookies = new Map<string, string>();
  readonly #origin: string;
  readonly #fetch: typeof fetch;

  /** @param fetcher another `fetch`, for a server whose certificate only this test trusts */
  constructor(server: Pick<TestServer, 'issuer'>, fetcher: typeof fetch = fetch) {
    this.#origin = server.issuer;
    this.#fetch = fetcher;
  }

  /** A copy that shares nothing from now on. */
  clone(): TestBrowser {
    const copy = new TestBrowser({ issuer: this.#origin }, this.#fetch);
    for (const [name, value] of this.cookies) copy.cookies.set(name, value);
    return copy;
  }

  /** GETs an address and follows redirects on this server; stops at one that leaves it. */
  async visit(address: string): Promise<Visit> {
    return this.#follow(await this.send('GET', address));
  }

  /** Posts a form as a browser would from our own page, and follows. */
  async submit(form: PageForm, values: Record<string, string> = {}): Promise<Visit> {
    return this.#follow(await this.send('POST', form.action, { ...form.fields, ...values }));
  }

  /** One request, redirects not followed. */
  async send(
    method: string,
    address: string,
    fields?: Record<string, string>,
    headers: Record<string, string> = {},
  ): Promise<Visit> {
    const url = new URL(address, this.#origin);
    const response = await this.#fetch(url, {
      method,
      redirect: 'manual',
      headers: {
        cookie: [...this.cookies].map(([name, value]) => `${name}=${value}`).join('; '),
        ...(method === 'POST' && { origin: this.#origin, 'sec-fetch-site': 'same-origin' }),
        ...headers,
      },
      ...(fields && { body: new URLSearchParams(fields) }),
    });
    for (const line of response.headers.getSetCookie()) {
      const [pair = ''] = line.split(';');
      const name = pair.slice(0, pair.indexOf('='));
      const value = pair.slice(pair.indexOf('=') + 1);
      if (value === '') this.cookies.delete(name);
      else this.cookies.set(name, value);
    }
    const location = response.headers.get('location') ?? undefined;
    return { status: response.status, url: url.href, headers: response.headers, body: await response.text(), location };
  }

  async #follow(first: Visit): Promise<Visit> {
    let visit = first;
    for (let hops = 0; visit.location !== undefined && hops < 10; hops += 1) {
      const next = new URL(visit.location, visit.url);
      if (next.origin !== this.#origin) return visit;
      visit = await this.send('GET', next.href);
    }
    return visit;
  }
}

const ENTITIES: Record<string, string> = { '&amp;': '&', '&lt;': '<', '&gt;': '>', '&quot;': '"', '&#39;': "'" };

function decodeEntities(text: string): string {
  return text.replace(/&(?:amp|lt|gt|quot|#39);/g, (entity) => ENTITIES[entity] ?? entity);
}

/** The forms of a page, in order. */
export function formsOf(visit: Visit): PageForm[] {
  return [...visit.body.matchAll(/<form[^>]*action="([^"]*)"[^>]*>([\s\S]*?)<\/form>/g)].map(
    ([, action = '', inner = '']) => ({
      action: decodeEntities(action),
      fields: Object.fromEntries(
        [...inner.matchAll(/<input[^>]*>/g)].flatMap(([input]) => {
          const name = /name="([^"]*)"/.exec(input)?.[1];
          return name === undefined ? [] : [[name, decodeEntities(/value="([^"]*)"/.exec(input)?.[1] ?? '')]];
        }),
      ),
    }),
  );
}

/** The form that goes to `action`. */
export function formTo(visit: Visit, action: string): PageForm {
  const form = formsOf(visit).find((candidate) => candidate.action === action);
  if (!form) throw new Error(`no form to ${action} on ${visit.url} (${visit.status}): ${visit.body.slice(0, 2000)}`);
  return form;
}

export function pkce(): { verifier: string; challenge: string } {
  const verifier = randomBytes(32).toString('base64url');
  return { verifier, challenge: createHash('sha256').update(verifier).digest('base64url') };
}

/** An authorization request as a path on this server; `undefined` removes a default. */
export function authorizePath(parameters: Record<string, string | undefined>): string {
  const given = Object.entries({
    response_type: 'code',
    state: 'af0ifjsldkj',
    code_challenge_method: 'S256',
    ...parameters,
  });
  return `/authorize?${new URLSearchParams(given.filter((pair): pair is [string, string] => pair[1] !== undefined))}`;
}

/** Signs in on the login page a visit ended on. */
export function signIn(browser: TestBrowser, page: Visit, username = 'alice', password = 'wonderland'): Promise<Visit> {
  return browser.submit(formTo(page, '/login'), { username, password });
}

/** Says yes (or no) on the consent page a visit ended on. */
export function decide(browser: TestBrowser, page: Visit, decision: 'allow' | 'deny' = 'allow'): Promise<Visit> {
  return browser.submit(formTo(page, '/consent'), { decision });
}

/** The parameters of a response that was sent to the client's redirect URI. */
export function responseOf(visit: Visit): URLSearchParams {
  if (visit.location === undefined)
    throw new Error(`no response was sent from ${visit.url} (${visit.status}): ${visit.body.slice(0, 2000)}`);
  return new URL(visit.location).searchParams;
}

/** POSTs a form to an endpoint for clients. */
export async function post(
  address: string,
  fields: Record<string, string> | string,
  options: { basic?: { id: string; secret: string }; headers?: Record<string, string> } = {},
): Promise<{ status: number; headers: Headers; json: Record<string, unknown>; text: string }> {
  const { basic } = options;
  const response = await fetch(address, {
    method: 'POST',
    headers: {
      'content-type': 'application/x-www-form-urlencoded',
      ...(basic && {
        authorization: `Basic ${Buffer.from(`${encodeURIComponent(basic.id)}:${encodeURIComponent(basic.secret)}`).toString('base64')}`,
      }),
      ...options.headers,
    },
    body: typeof fields === 'string' ? fields : new URLSearchParams(fields).toString(),
  });
  const text = await response.text();
  let json: Record<string, unknown> = {};
  try {
    json = JSON.parse(text) as Record<string, unknown>;
  } catch {
    // Some answers have no JSON; the test looks at the text.
  }
  return { status: response.status, headers: response.headers, json, text };
}
