/**
 * The attacker holds a fresh code (a leaky referrer, a log, an open redirector at the client) and perhaps a client of
 * their own, but not the rightful client's credentials nor the verifier (RFC 9700 §4.5).
 * Stopped by: the code is bound to client, redirect_uri and challenge; all is checked before anything is written, so
 * the attempt does not burn the code for its owner either.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { auditOf, tally } from '../support/attack-aftermath.ts';
import { post } from '../support/browser.ts';
import { getCode, PHOTOS, redeem, STORAGE, startWorld, type World } from '../support/world.ts';

type Flow = Awaited<ReturnType<typeof getCode>>;

describe('a stolen code', () => {
  let world: World;
  let thief: { id: string; secret: string };
  beforeAll(async () => {
    world = await startWorld();
    thief = await world.client({
      client_id: 'thief',
      redirect_uris: ['https://thief.example/callback'],
      grant_types: ['authorization_code', 'refresh_token'],
    });
  });
  afterAll(() => world.close());

  const send = (flow: Flow, fields: Record<string, string>, basic?: { id: string; secret: string }) =>
    post(
      `${world.issuer}/token`,
      { grant_type: 'authorization_code', code: flow.code, code_verifier: flow.verifier, ...fields },
      basic ? { basic } : {},
    );

  const thefts: [string, 'web' | 'spa', (flow: Flow) => ReturnType<typeof post>, number, string][] = [
    ['by another confidential client', 'web', (flow) => send(flow, {}, thief), 400, 'invalid_grant'],
    ['by another public client', 'web', (flow) => send(flow, { client_id: 'spa' }), 400, 'invalid_grant'],
    ['of a public client by a confidential one', 'spa', (flow) => send(flow, {}, thief), 400, 'invalid_grant'],
    ['with the client_id alone', 'web', (flow) => send(flow, { client_id: 'web' }), 401, 'invalid_client'],
    [
      'with a guessed secret',
      'web',
      (flow) => send(flow, {}, { id: 'web', secret: thief.secret }),
      401,
      'invalid_client',
    ],
    [
      'with another client_id beside good credentials',
      'web',
      (flow) => send(flow, { client_id: 'web' }, thief),
      401,
      'invalid_client',
    ],
    [
      'with another redirect_uri',
      'web',
      (flow) => send(flow, { redirect_uri: 'https://thief.example/callback' }, world.web),
      400,
      'invalid_grant',
    ],
    [
      'with another verifier',
      'spa',
      (flow) => send(flow, { client_id: 'spa', code_verifier: 'w'.repeat(43) }),
      400,
      'invalid_grant',
    ],
    ['without a verifier', 'spa', (flow) => send(flow, { client_id: 'spa', code_verifier: '' }), 400, 'invalid_grant'],
    [
      'for an API that was not granted',
      'web',
      (flow) => send(flow, { resource: STORAGE }, world.web),
      400,
      'invalid_target',
    ],
    [
      'for more scope than granted',
      'web',
      (flow) => send(flow, { scope: 'photos.write' }, world.web),
      400,
      'invalid_scope',
    ],
    [
      'as a refresh token',
      'web',
      (flow) => send(flow, { grant_type: 'refresh_token', refresh_token: flow.code }, world.web),
      400,
      'invalid_grant',
    ],
  ];
  it.each(thefts)('%s is refused and stays good for its client', async (_name, client, steal, status, error) => {
    const flow = await getCode(world, { client });
    const before = await tally(world);
    const answer = await steal(flow);
    expect([answer.status, answer.json.error]).toEqual([status, error]);
    expect(answer.text).not.toContain('access_token');
    expect(await tally(world)).toEqual(before);

    const rightful = await redeem(world, flow, client, { resource: PHOTOS });
    expect(rightful.status).toBe(200);
  });

  it('leaves one event in the audit trail that names the thief', async () => {
    const flow = await getCode(world);
    const trail = await auditOf(world, 'invalid_grant', () => send(flow, {}, thief));
    expect(trail.map(({ event, client_id, times }) => [event, client_id, times])).toEqual([
      ['invalid_grant', 'thief', 1],
    ]);
  });

  it('is worth nothing after a minute, even to its client', async () => {
    const flow = await getCode(world);
    world.clock.advance(61);
    const before = await tally(world);
    expect((await redeem(world, flow)).json.error).toBe('invalid_grant');
    expect(await tally(world)).toEqual(before);
  });

  it.each([
    ['cut', (code: string) => code.slice(0, -1)],
    ['longer', (code: string) => `${code}A`],
    ['with another secret', (code: string) => code.slice(0, -43) + 'A'.repeat(43)],
    ['with another id', (code: string) => `${code.slice(0, 8)}AAAA${code.slice(12)}`],
    ['with another prefix', (code: string) => code.replace('gate_ac_', 'gate_rt_')],
    ['with white space', (code: string) => ` ${code}`],
    ['in standard base64', (code: string) => `${code.slice(0, -2)}+/`],
  ])('%s is unknown', async (_name, change) => {
    const flow = await getCode(world);
    expect((await redeem(world, { ...flow, code: change(flow.code) })).json.error).toBe('invalid_grant');
    expect((await redeem(world, flow)).status).toBe(200);
  });
});
