/** Rich authorization requests: RFC 9396. One test for each demand. */
import { decodeJwt } from 'jose';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { responseOf } from '../support/browser.ts';
import { push } from '../support/dpop-world.ts';
import {
  ask,
  asked,
  codeFor,
  PAYMENT,
  PAYMENTS,
  type PaymentsWorld,
  PRINT,
  PRINTS,
  redeemShop,
  refreshShop,
  refusalOf,
  SHOP_REDIRECT,
  startPaymentsWorld,
} from '../support/payments-world.ts';
import { introspect } from '../support/world.ts';

const INVALID = 'invalid_authorization_details';

describe('RFC 9396', () => {
  let world: PaymentsWorld;
  beforeAll(async () => {
    world = await startPaymentsWorld();
  });
  afterAll(() => world.close());

  it('§2: authorization_details is a JSON array of objects, beside or without scope', async () => {
    const without = await redeemShop(world, { details: [PAYMENT] });
    expect(without.json).toMatchObject({ authorization_details: [PAYMENT] });
    expect(without.json).not.toHaveProperty('scope');
    const beside = await redeemShop(world, { details: [PAYMENT], scope: 'openid payments.read' });
    expect(beside.json).toMatchObject({ authorization_details: [PAYMENT], scope: 'openid payments.read' });
  });

  it.each([
    ['no JSON', '[{'],
    ['an object', JSON.stringify(PAYMENT)],
    ['a list of strings', '["payment"]'],
    ['an empty list', '[]'],
    ['no type', JSON.stringify([{ ...PAYMENT, type: undefined }])],
    ['a type that is no string', JSON.stringify([{ ...PAYMENT, type: ['payment'] }])],
  ])('§2, §5: %s is refused', async (_what, details) => {
    expect(await refusalOf(world, { details })).toBe(INVALID);
  });

  it('§2.1: the same type may be asked for several times', async () => {
    const second = { ...PAYMENT, creditor: 'Merchant B' };
    const { json } = await redeemShop(world, { details: [PAYMENT, second] });
    expect(json.authorization_details).toEqual([PAYMENT, second]);
  });

  it('§2.2: locations name the API of the type, and nothing else', async () => {
    const here = { ...PAYMENT, locations: [PAYMENTS] };
    expect((await redeemShop(world, { details: [here] })).json.authorization_details).toEqual([here]);
    for (const locations of [[PRINTS], [PAYMENTS, PRINTS], [], PAYMENTS, ['https://unknown.example']])
      expect(await refusalOf(world, { details: [{ ...PAYMENT, locations }] })).toBe(INVALID);
  });

  it('§3: it can be pushed', async () => {
    const fields = { redirect_uri: SHOP_REDIRECT, scope: undefined };
    const good = await push(world, { client: world.shop, fields: { ...fields, ...asked(PAYMENT) } });
    expect(good.status).toBe(201);
    const bad = await push(world, { client: world.shop, fields: { ...fields, ...asked({ type: 'unknown' }) } });
    expect([bad.status, bad.json.error]).toEqual([400, INVALID]);
  });

  it('§3.2: resource has no say in what becomes of the details', async () => {
    const parameters = { resource: 'https://photos.example' };
    const { json } = await redeemShop(
      world,
      { details: [PAYMENT], scope: 'photos.read', parameters },
      { resource: PAYMENTS },
    );
    expect(json.authorization_details).toEqual([PAYMENT]);
  });

  it.each<[string, object]>([
    ['an unknown type', { type: 'unknown' }],
    ['an unknown member', { ...PAYMENT, extra: 1 }],
    ['an unknown member inside', { ...PAYMENT, amount: { ...PAYMENT.amount, extra: 1 } }],
    ['a member of the wrong type', { ...PAYMENT, creditor: 7 }],
    ['a value that is not allowed', { ...PAYMENT, amount: { ...PAYMENT.amount, currency: 'BTC' } }],
    ['a value of the wrong form', { ...PAYMENT, amount: { ...PAYMENT.amount, value: '1' } }],
    ['a member that is missing', { ...PAYMENT, creditor: undefined }],
  ])('§5: %s is refused', async (_what, detail) => {
    expect(await refusalOf(world, { details: [PRINT, detail] })).toBe(INVALID);
  });

  it('§6, §6.1: a token request may ask for some of them, and the rest stays for later', async () => {
    const first = await redeemShop(world, { details: [PAYMENT, PRINT] }, asked(PRINT));
    expect(first.json.authorization_details).toEqual([PRINT]);
    const second = await refreshShop(world, first.json.refresh_token, asked(PAYMENT));
    expect(second.json.authorization_details).toEqual([PAYMENT]);
  });

  it('§6.1: a token request may ask for less of one', async () => {
    const less = { ...PRINT, actions: ['list'] };
    expect((await redeemShop(world, { details: [PRINT] }, asked(less))).json.authorization_details).toEqual([less]);
  });

  it('§6.1: more than was granted is refused', async () => {
    for (const more of [{ ...PRINT, actions: ['list', 'cancel'] }, { type: 'photo_print', album: 'Lisbon' }, PAYMENT]) {
      const { status, json } = await redeemShop(world, { details: [PRINT] }, asked(more));
      expect([status, json.error]).toEqual([400, INVALID]);
    }
  });

  it('§7: the token response says what was granted, of each API to its own token', async () => {
    const first = await redeemShop(world, { details: [PAYMENT, PRINT] }, { resource: PAYMENTS });
    expect(first.json.authorization_details).toEqual([PAYMENT]);
    const second = await refreshShop(world, first.json.refresh_token, { resource: PRINTS });
    expect(second.json.authorization_details).toEqual([PRINT]);
    const third = await refreshShop(world, first.json.refresh_token);
    expect([third.status, third.json.error]).toEqual([400, 'invalid_target']);
  });

  it('§9.1: a JWT access token carries them', async () => {
    const { json } = await redeemShop(world, { details: [PAYMENT, PRINT] }, { resource: PRINTS });
    const claims = decodeJwt(String(json.access_token));
    expect(claims).toMatchObject({ aud: PRINTS, authorization_details: [PRINT] });
    expect(claims).not.toHaveProperty('scope');
  });

  it('§9.2: introspection tells them, in both forms of token', async () => {
    const { json } = await redeemShop(world, { details: [PAYMENT, PRINT] }, { resource: PRINTS });
    const opaque = await refreshShop(world, json.refresh_token, { resource: PAYMENTS });
    expect(await introspect(world, String(json.access_token), world.printsApi)).toMatchObject({
      active: true,
      authorization_details: [PRINT],
    });
    expect(await introspect(world, String(opaque.json.access_token), world.paymentsApi)).toMatchObject({
      active: true,
      authorization_details: [PAYMENT],
    });
    expect(await introspect(world, String(json.refresh_token), world.shop)).toMatchObject({
      authorization_details: [PAYMENT, PRINT],
    });
  });

  it('§10: the types are announced', async () => {
    const metadata = await (await fetch(`${world.issuer}/.well-known/oauth-authorization-server`)).json();
    expect(metadata).toMatchObject({ authorization_details_types_supported: ['payment', 'photo_print'] });
  });

  it('§10: a client may ask for the types it is registered for only', async () => {
    const { status, json } = await push(world, { fields: asked(PAYMENT) });
    expect([status, json.error]).toEqual([400, INVALID]);
  });

  it('§12: consent to details is asked for each time, and prompt=none cannot have it', async () => {
    const { browser } = await codeFor(world, { details: [PAYMENT] });
    expect((await ask(world, { details: [PAYMENT], browser })).page.url).toContain('/consent');
    const { page } = await ask(world, { details: [PAYMENT], browser, parameters: { prompt: 'none' } });
    expect(responseOf(page).get('error')).toBe('consent_required');
  });
});
