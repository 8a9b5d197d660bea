/**
 * The attacker has found a token, or guesses, and asks us what it is: as an API it is not for, as another client, as a
 * public client, as nobody. They want its user, or only to learn that it exists (RFC 7662 §4).
 * Stopped by: a caller that authenticates, audience or ownership, and one answer for everything else.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { auditOf } from '../support/attack-aftermath.ts';
import { type Issued, refreshed } from '../support/attack-tokens.ts';
import { post } from '../support/browser.ts';
import { getCode, introspect, PHOTOS, redeem, STORAGE, startWorld, type World } from '../support/world.ts';

describe.each(['/token_info', '/introspect'])('introspection at %s', (path) => {
  let world: World;
  let jwt: Issued;
  let opaque: Issued;
  let stranger: { id: string; secret: string };
  beforeAll(async () => {
    world = await startWorld();
    stranger = await world.client({ client_id: 'stranger', grant_types: [] });
    const scope = 'openid photos.read storage.read';
    const flow = await getCode(world, { scope });
    jwt = (await redeem(world, flow, 'web', { resource: PHOTOS })).json as unknown as Issued;
    const again = await getCode(world, { scope, browser: flow.browser });
    opaque = (await redeem(world, again, 'web', { resource: STORAGE })).json as unknown as Issued;
  });
  afterAll(() => world.close());

  const ask = (fields: Record<string, string> | string, basic?: { id: string; secret: string }) =>
    post(`${world.issuer}${path}`, fields, basic ? { basic } : {});

  it('tells the API a token is for, and the client that holds it', async () => {
    expect((await ask({ token: opaque.access_token }, world.storageApi)).json.active).toBe(true);
    expect((await ask({ token: jwt.access_token }, world.photosApi)).json.active).toBe(true);
    expect((await ask({ token: opaque.access_token }, world.web)).json.active).toBe(true);
    expect((await ask({ token: jwt.refresh_token }, world.web)).json.active).toBe(true);
  });

  it('tells everybody else nothing, in the same words and headers for every reason', async () => {
    const answers = [];
    for (const [token, caller] of [
      [opaque.access_token, world.photosApi],
      [opaque.access_token, stranger],
      [opaque.access_token, world.batch],
      [jwt.access_token, world.storageApi],
      [jwt.access_token, stranger],
      [jwt.refresh_token, world.photosApi],
      [jwt.refresh_token, stranger],
      ['unknown', stranger],
      [opaque.access_token.slice(0, -1), world.storageApi],
      [`${opaque.access_token.slice(0, -43)}${'A'.repeat(43)}`, world.storageApi],
      [jwt.id_token, world.photosApi],
      [`gate_at_${'A'.repeat(64)}`, stranger],
      ['eyJhbGciOiJub25lIn0.e30.x', stranger],
    ] as const) {
      const { status, text, headers } = await ask({ token }, caller);
      answers.push([status, text, headers.get('content-length'), [...headers.keys()].join()].join(' '));
    }
    expect(new Set(answers).size).toBe(1);
    expect(answers[0]).toContain('200 {"active":false} 16 ');
  });

  it('does the same work for a token that is somebody else’s, that does not stand, and that never was', async () => {
    const dead = (await redeem(world, await getCode(world), 'web')).json as unknown as Issued;
    await post(`${world.issuer}/revoke`, { token: dead.refresh_token }, { basic: world.web });
    const cost = (token: string, caller = stranger) =>
      world.roundTripsOf(
        async () => undefined,
        () => ask({ token }, caller),
      );
    const costs = [
      await cost(opaque.access_token),
      await cost(opaque.access_token, world.storageApi),
      await cost(`${opaque.access_token.slice(0, -43)}${'A'.repeat(43)}`),
      await cost(`gate_at_${Buffer.alloc(48, 1).toString('base64url')}`),
      await cost(jwt.access_token),
      await cost(dead.access_token),
      await cost(jwt.refresh_token),
    ];
    expect(costs).toEqual(costs.map(() => 1));
  });

  it('refuses a caller without proof the same way, whoever it claims to be', async () => {
    const { access_token: token } = opaque;
    const answers = [
      await ask({ token }),
      await ask({ token, client_id: 'spa' }),
      await ask({ token, client_id: 'storage-api' }),
      await ask({ token, client_id: 'nobody' }),
      await ask({ token }, { id: 'storage-api', secret: stranger.secret }),
      await ask({ token }, { id: 'nobody', secret: 'x' }),
      await ask({ token, client_id: 'storage-api', client_secret: world.storageApi.secret }),
      await post(`${world.issuer}${path}`, { token }, { headers: { authorization: `Bearer ${token}` } }),
    ];
    for (const { status, json, headers } of answers) {
      expect([status, json]).toEqual([
        401,
        { error: 'invalid_client', error_description: 'Client authentication failed.' },
      ]);
      expect(headers.get('www-authenticate')).toMatch(/^Basic realm=/);
    }
  });

  it('writes one event for a caller without proof', async () => {
    const trail = await auditOf(world, 'invalid_client', () =>
      ask({ token: opaque.access_token }, { id: 'storage-api', secret: 'guess' }),
    );
    expect(trail.map(({ event, client_id, times }) => [event, client_id, times])).toEqual([
      ['invalid_client', 'storage-api', 1],
    ]);
  });

  it('refuses more than 16 KiB unread', async () => {
    const answer = await ask({ token: 'x'.repeat(16 * 1024) }, world.storageApi);
    expect([answer.status, answer.json.error]).toEqual([413, 'invalid_request']);
  });

  it('a browser’s script can read no answer', async () => {
    const response = await fetch(`${world.issuer}${path}`, {
      method: 'OPTIONS',
      headers: { origin: 'https://spa.example', 'access-control-request-method': 'POST' },
    });
    expect(response.status).toBe(405);
    expect(response.headers.get('access-control-allow-origin')).toBeNull();
  });

  it('a token that was narrowed, rotated away or ended is not active for its own client either', async () => {
    const issued = (await redeem(world, await getCode(world, { client: 'spa' }), 'spa')).json as unknown as Issued;
    expect(await introspect(world, issued.access_token)).toMatchObject({ active: true });
    expect(await refreshed(world, issued.refresh_token, 'spa')).toBe(200);
    await post(`${world.issuer}/revoke`, { token: issued.refresh_token, client_id: 'spa' });
    expect((await ask({ token: issued.access_token }, world.photosApi)).text).toBe('{"active":false}');
  });
});
