/** What every page must hold against an attacker, and what an error page may say. */
import { expect } from 'vitest';
import type { Visit } from './browser.ts';

/** The OAuth error code an error page shows. */
export function errorCodeOf(body: string): string | undefined {
  return /id="error-code">([a-z_]+)</.exec(body)?.[1];
}

/** An error that is shown: HTML with the code and a reference, no redirect, no way on, no trace of our inside. */
export function expectErrorPage(visit: Visit, status: number, code: string): void {
  expect([visit.status, errorCodeOf(visit.body)]).toEqual([status, code]);
  expect(visit.location).toBeUndefined();
  expect(visit.headers.get('content-type')).toMatch(/^text\/html/);
  expect(visit.body).toMatch(/id="error-reference">[\w-]{12}</);
  expect(visit.body).not.toMatch(/<a |<form|http-equiv|<script/i);
  expectNoInside(visit.body);
  expectPageHeaders(visit.headers);
}

/** Nothing of a stack, a file or a statement. */
export function expectNoInside(text: string): void {
  expect(text).not.toMatch(/node_modules|\.ts\b|\bat \w+ \(|SELECT |INSERT |UPDATE |syntax error|FST_ERR/);
}

/** No frame shows it, no script but ours runs in it, nothing foreign loads, nothing keeps it. */
export function expectPageHeaders(headers: Headers): void {
  const policy = headers.get('content-security-policy') ?? '';
  expect(policy).toContain("default-src 'none'");
  expect(policy).toContain("frame-ancestors 'none'");
  expect(policy).toContain("base-uri 'none'");
  expect(policy).toContain("form-action 'self'");
  expect(policy).not.toMatch(/unsafe|\*|script-src 'self'/);
  expect(headers.get('x-frame-options')).toBe('DENY');
  expect(headers.get('x-content-type-options')).toBe('nosniff');
  expect(headers.get('cache-control')).toBe('no-store');
  expect(headers.get('referrer-policy')).toMatch(/^(same-origin|no-referrer)$/);
  expect(headers.get('access-control-allow-origin')).toBeNull();
}
