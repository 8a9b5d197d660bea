/**
 * The attacker can start or alter authorization requests and injects or steals codes; they want a code that asks for no
 * verifier, or one that a guess satisfies (RFC 9700 §4.8, RFC 7636 §7.2). Stopped by: S256 is demanded of every client
 * before any page is shown; the verifier is compared as a hash, after its form has been checked.
 */
import { createHash } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { auditOf, tally } from '../support/attack-aftermath.ts';
import { authorizePath, pkce, post, responseOf, type TestBrowser } from '../support/browser.ts';
import { getCode, redeem, SPA_REDIRECT, startWorld, WEB_REDIRECT, type World } from '../support/world.ts';

describe('PKCE', () => {
  let world: World;
  const signedIn = {} as Record<'web' | 'spa', TestBrowser>;
  beforeAll(async () => {
    world = await startWorld();
    // Consented: without the check a code would come at once.
    for (const client of ['web', 'spa'] as const) signedIn[client] = (await getCode(world, { client })).browser;
  });
  afterAll(() => world.close());

  const challenge = pkce().challenge;
  const requests: [string, Record<string, string | undefined>][] = [
    ['no challenge and no method', { code_challenge: undefined, code_challenge_method: undefined }],
    ['no challenge', { code_challenge: undefined }],
    ['an empty challenge', { code_challenge: '' }],
    ['no method, which means plain', { code_challenge_method: undefined }],
    ['plain', { code_challenge_method: 'plain' }],
    ['another case', { code_challenge_method: 's256' }],
    ['an unknown method', { code_challenge_method: 'S512' }],
    ['42 characters', { code_challenge: challenge.slice(1) }],
    ['44 characters', { code_challenge: `${challenge}A` }],
    ['padding', { code_challenge: `${challenge.slice(1)}=` }],
    ['standard base64', { code_challenge: `${challenge.slice(2)}+/` }],
    ['a newline at the end', { code_challenge: `${challenge}\n` }],
  ];
  it.each((['web', 'spa'] as const).flatMap((client) => requests.map((row) => [client, ...row] as const)))(
    'an authorization request of %s with %s gets no code',
    async (client, _name, parameters) => {
      const before = await tally(world);
      const visit = await signedIn[client].send(
        'GET',
        authorizePath({
          client_id: client,
          redirect_uri: client === 'web' ? WEB_REDIRECT : SPA_REDIRECT,
          scope: 'openid photos.read',
          code_challenge: challenge,
          ...parameters,
        }),
      );
      expect(visit.status).toBe(303);
      const response = responseOf(visit);
      expect(Object.fromEntries(response)).toEqual({
        error: 'invalid_request',
        error_description: expect.any(String),
        state: 'af0ifjsldkj',
        iss: world.issuer,
      });
      expect(await tally(world)).toEqual(before);
    },
  );

  it('a challenge sent twice gets no code', async () => {
    const path = authorizePath({
      client_id: 'web',
      redirect_uri: WEB_REDIRECT,
      scope: 'openid',
      code_challenge: challenge,
    });
    const visit = await signedIn.web.send('GET', `${path}&code_challenge=${pkce().challenge}`);
    expect(responseOf(visit).get('error')).toBe('invalid_request');
  });

  it.each(
    (['web', 'spa'] as const).flatMap((client) =>
      (
        [
          ['no verifier', () => undefined],
          ['an empty verifier', () => ''],
          ['one character', () => 'a'],
          ['42 characters', (verifier) => verifier.slice(1)],
          ['129 characters', () => 'a'.repeat(129)],
          ['a character outside the alphabet', (verifier) => `${verifier.slice(1)}+`],
          ['white space at the end', (verifier) => `${verifier} `],
          ['padding', (verifier) => `${verifier}=`],
          ['somebody else’s verifier', () => pkce().verifier],
          ['the challenge itself, as plain would have it', (_verifier, sent) => sent],
          ['a verifier that differs in case', (verifier) => verifier.toLowerCase()],
        ] as [string, (verifier: string, sent: string) => string | undefined][]
      ).map((row) => [client, ...row] as const),
    ),
  )('a redemption by %s with %s is refused, and the code stays good', async (client, _name, change) => {
    const flow = await getCode(world, { client, browser: signedIn[client] });
    const sent = pkceChallengeOf(flow.verifier);
    const verifier = change(flow.verifier, sent);
    const before = await tally(world);
    const answer = await post(
      `${world.issuer}/token`,
      {
        grant_type: 'authorization_code',
        code: flow.code,
        redirect_uri: flow.redirectUri,
        ...(verifier !== undefined && { code_verifier: verifier }),
        ...(client === 'spa' && { client_id: 'spa' }),
      },
      client === 'web' ? { basic: world.web } : {},
    );
    expect([answer.status, answer.json.error]).toEqual([400, 'invalid_grant']);
    expect(await tally(world)).toEqual(before);
    expect((await redeem(world, flow, client)).status).toBe(200);
  });

  it('a refused redemption is one event in the audit trail', async () => {
    const flow = await getCode(world, { browser: signedIn.web });
    const trail = await auditOf(world, 'invalid_grant', () => redeem(world, { ...flow, verifier: 'a' }));
    expect(trail.map(({ event, client_id, times }) => [event, client_id, times])).toEqual([
      ['invalid_grant', 'web', 1],
    ]);
  });

  it('metadata announces S256 and nothing else', async () => {
    const metadata = (await (await fetch(`${world.issuer}/.well-known/openid-configuration`)).json()) as object;
    expect(metadata).toMatchObject({ code_challenge_methods_supported: ['S256'] });
  });
});

function pkceChallengeOf(verifier: string): string {
  return createHash('sha256').update(verifier).digest('base64url');
}
