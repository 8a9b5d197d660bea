/**
 * Attacks on authorization details (RFC 9396 §11, §12): a client that wants more than a person allowed, an API that wants to know
 * what was allowed elsewhere, somebody on the way who changes a request, and JSON made to break its readers.
 */
import { decodeJwt } from 'jose';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { rulesFor } from '../../src/cli/workplace.ts';
import { changeClient } from '../../src/operator/clients.ts';
import { findClientRecord } from '../../src/postgres/clients.pg.ts';
import { oauth21 } from '../../src/protocol/profile.ts';
import { caughtUp } from '../support/attack-aftermath.ts';
import { decide, formTo, post, responseOf } from '../support/browser.ts';
import { follow, push, pushedPath } from '../support/dpop-world.ts';
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
const BIGGER = { ...PAYMENT, amount: { ...PAYMENT.amount, value: '9999.00' } };

/** The operator takes all types from a client, and every node knows. */
async function withoutTypes({ running, context, clock }: PaymentsWorld, clientId: string) {
  const { sql } = running.database;
  const record = await findClientRecord(sql, clientId);
  if (!record) throw new Error('no client');
  const rules = rulesFor(sql, oauth21, running.passwords, context);
  await changeClient(sql, record, { authorization_details_types: null, scope: '' }, rules, clock.now());
  await caughtUp();
}

describe('attacks on authorization details', () => {
  let world: PaymentsWorld;
  beforeAll(async () => {
    world = await startPaymentsWorld();
  });
  afterAll(() => world.close());

  describe('widening', () => {
    it.each<[string, object[]]>([
      ['another amount', [BIGGER]],
      ['one more', [PAYMENT, { ...PAYMENT, creditor: 'Mallory' }]],
      ['the same one twice', [PAYMENT, PAYMENT]],
      ['a member that was not there', [{ ...PAYMENT, reference: 'x' }]],
      ['another type', [PRINT]],
      ['a location that was not there', [{ ...PAYMENT, locations: [PAYMENTS] }]],
    ])('%s is refused with the code and with the refresh token, and burns neither', async (_what, details) => {
      const { code, verifier } = await codeFor(world, { details: [PAYMENT] });
      const fields = { grant_type: 'authorization_code', code, code_verifier: verifier, redirect_uri: SHOP_REDIRECT };
      const redeem = (extra: object) => post(`${world.issuer}/token`, { ...fields, ...extra }, { basic: world.shop });
      const refused = await redeem(asked(...details));
      expect([refused.status, refused.json.error]).toEqual([400, INVALID]);
      const { json } = await redeem({});
      const again = await refreshShop(world, json.refresh_token, asked(...details));
      expect([again.status, again.json.error]).toEqual([400, INVALID]);
      expect((await refreshShop(world, json.refresh_token)).json.authorization_details).toEqual([PAYMENT]);
    });

    it('a token that got fewer does not make the next one get more', async () => {
      const less = { ...PRINT, actions: ['list'] };
      const { json } = await redeemShop(world, { details: [PRINT] }, asked(less));
      expect(decodeJwt(String(json.access_token)).authorization_details).toEqual([less]);
      expect((await refreshShop(world, json.refresh_token, asked({ ...PRINT, actions: [] }))).status).toBe(400);
      expect((await refreshShop(world, json.refresh_token)).json.authorization_details).toEqual([PRINT]);
    });

    it('a grant without details gives none', async () => {
      const { json } = await redeemShop(world, { scope: 'openid payments.read' });
      const { status, json: answer } = await refreshShop(world, json.refresh_token, asked(PAYMENT));
      expect([status, answer.error]).toEqual([400, INVALID]);
    });
  });

  describe('tampering', () => {
    it('a yes to one payment answers no other request', async () => {
      const { page: shown, browser } = await ask(world, { details: [PAYMENT] });
      const { page: other } = await ask(world, { details: [BIGGER], browser });
      const form = formTo(shown, '/consent');
      const forged = await browser.submit(form, {
        decision: 'allow',
        pending: formTo(other, '/consent').fields.pending ?? '',
      });
      expect(forged.status).toBe(403);
      expect((await ask(world, { details: [BIGGER], browser })).page.url).toContain('/consent');
    });

    it('details beside a pushed request, or in the form, change nothing', async () => {
      const fields = { redirect_uri: SHOP_REDIRECT, scope: undefined, ...asked(PAYMENT) };
      const { uri, verifier } = await push(world, { client: world.shop, fields });
      const { page } = await follow(world, pushedPath(uri, world.shop.id, asked(BIGGER)));
      const code = responseOf(page).get('code') ?? '';
      const redemption = {
        grant_type: 'authorization_code',
        code,
        code_verifier: verifier,
        redirect_uri: SHOP_REDIRECT,
      };
      const { json } = await post(`${world.issuer}/token`, redemption, { basic: world.shop });
      expect(json.authorization_details).toEqual([PAYMENT]);
    });

    it('the parameter is not to be repeated', async () => {
      const twice = [PAYMENT, BIGGER].map((detail) => new URLSearchParams(asked(detail)).toString()).join('&');
      const { json } = await post(`${world.issuer}/token`, `grant_type=client_credentials&${twice}`, {
        basic: world.robot,
      });
      expect(json.error).toBe('invalid_request');
    });

    it('a client that is registered for no type gets none', async () => {
      const { status, json } = await push(world, { fields: asked(PAYMENT) });
      expect([status, json.error]).toEqual([400, INVALID]);
    });
  });

  describe('what was allowed at another API', () => {
    it('is in no token, no introspection and no answer', async () => {
      const { json } = await redeemShop(world, { details: [PAYMENT, PRINT] }, { resource: PRINTS });
      expect(JSON.stringify(json)).not.toContain('Merchant A');
      expect(Buffer.from(String(json.access_token).split('.')[1] ?? '', 'base64url').toString()).not.toContain(
        'Merchant A',
      );
      expect(await introspect(world, String(json.access_token), world.printsApi)).toMatchObject({ active: true });
      expect(JSON.stringify(await introspect(world, String(json.access_token), world.printsApi))).not.toContain(
        'Merchant A',
      );
      expect(await introspect(world, String(json.access_token), world.paymentsApi)).toEqual({ active: false });
      expect(await introspect(world, String(json.refresh_token), world.paymentsApi)).toEqual({ active: false });
    });

    it('cannot be had by naming both', async () => {
      for (const extra of [
        { ...asked(PAYMENT), resource: PRINTS },
        { ...asked(PAYMENT, PRINT), resource: PRINTS },
      ]) {
        const { status, json } = await redeemShop(world, { details: [PAYMENT, PRINT] }, extra);
        expect([status, json.error]).toEqual([400, INVALID]);
      }
    });
  });

  it('what is taken from a client is in none of its tokens any more', async () => {
    const own = await startPaymentsWorld();
    try {
      const jwt = (await redeemShop(own, { details: [PAYMENT, PRINT] }, { resource: PRINTS })).json;
      const opaque = (await refreshShop(own, jwt.refresh_token, { resource: PAYMENTS })).json;
      await withoutTypes(own, 'shop');
      for (const [token, api] of [
        [jwt.access_token, own.printsApi],
        [opaque.access_token, own.paymentsApi],
      ] as const)
        expect(await introspect(own, String(token), api)).toEqual({ active: false });
      expect((await refreshShop(own, jwt.refresh_token)).json.error).toBe('invalid_grant');
    } finally {
      await own.close();
    }
  });

  describe('hostile JSON', () => {
    const deep = `${'['.repeat(9_000)}${']'.repeat(9_000)}`;
    it.each<[string, string]>([
      ['nested 9,000 deep', deep],
      ['nested deep in a member', `[{"type":"payment","creditor":${deep}}]`],
      ['21 details', JSON.stringify(Array.from({ length: 21 }, () => PAYMENT))],
      ['33 KiB', JSON.stringify([{ ...PAYMENT, reference: 'x'.repeat(33 * 1024) }])],
      [
        '__proto__ for a member',
        JSON.stringify([PAYMENT]).replace('"creditor"', '"__proto__":{"creditor":"x"},"creditor"'),
      ],
      ['__proto__ for its type', '[{"__proto__":{"type":"payment"}}]'],
      ['constructor for its type', '[{"type":"constructor"}]'],
      ['an inherited member', JSON.stringify([{ ...PAYMENT, creditor: undefined, toString: 'x' }])],
      ['a number out of all bounds', JSON.stringify([PAYMENT]).replace('"creditor"', '"instalments":1e999,"creditor"')],
      [
        'a number that is read as another',
        JSON.stringify([PAYMENT]).replace('"creditor"', '"instalments":9007199254740993,"creditor"'),
      ],
      ['NUL', JSON.stringify([{ ...PAYMENT, creditor: 'A\0B' }])],
      ['a line break', JSON.stringify([{ ...PAYMENT, creditor: 'A\nIt is free' }])],
      ['letters turned around', JSON.stringify([{ ...PAYMENT, creditor: 'A\u202E00.1' }])],
      ['a blank', JSON.stringify([{ ...PAYMENT, creditor: ' ' }])],
      ['blanks of other kinds', JSON.stringify([{ ...PAYMENT, creditor: '\u00A0\u3000\u2003' }])],
      ['a Hangul filler', JSON.stringify([{ ...PAYMENT, creditor: '\u3164' }])],
      ['a Hangul filler among letters', JSON.stringify([{ ...PAYMENT, creditor: 'Merchant\u3164A' }])],
      ['braille without dots', JSON.stringify([{ ...PAYMENT, creditor: '\u2800' }])],
      ['a mark that changes what stands before it', JSON.stringify([{ ...PAYMENT, creditor: '\u0338Merchant A' }])],
      ['a mark on a blank', JSON.stringify([{ ...PAYMENT, creditor: ' \u0301' }])],
      ['a joiner that nobody sees', JSON.stringify([{ ...PAYMENT, creditor: 'A\u034F' }])],
      ['a selector of a variation', JSON.stringify([{ ...PAYMENT, creditor: 'A\u{E0101}' }])],
      ['half a character', '[{"type":"payment","amount":{"value":"1.00","currency":"EUR"},"creditor":"\\ud800"}]'],
      ['null', 'null'],
      ['a list of null', '[null]'],
      ['something after it', `${JSON.stringify([PAYMENT])} x`],
    ])('%s is refused', async (_what, authorization_details) => {
      const fields = { redirect_uri: SHOP_REDIRECT, scope: undefined, authorization_details };
      const { status, json } = await push(world, { client: world.shop, fields });
      expect([status, json.error]).toEqual([400, INVALID]);
    });

    it.each(['Cafe\u0301 Müller', '₹ नमस्ते', 'x', '한국 은행', '⠓⠊'])('%s is seen, and taken', async (creditor) => {
      const fields = { redirect_uri: SHOP_REDIRECT, scope: undefined, ...asked({ ...PAYMENT, creditor }) };
      expect((await push(world, { client: world.shop, fields })).status).toBe(201);
    });

    it('of two members of one name the one that is shown is the one that is granted', async () => {
      const details = JSON.stringify([PAYMENT]).replace(
        '"creditor":"Merchant A"',
        '"creditor":"Merchant A","creditor":"Mallory"',
      );
      const { page, browser } = await ask(world, { details });
      expect(page.body).toContain('Mallory');
      expect(page.body).not.toContain('Merchant A');
      expect(responseOf(await decide(browser, page)).get('code')).not.toBeNull();
      expect((await redeemShop(world, { details })).json.authorization_details).toEqual([
        { ...PAYMENT, creditor: 'Mallory' },
      ]);
    });

    it('markup and braces in a value are text', async () => {
      const creditor = '<img src=x onerror=alert(1)> {amount.value}';
      const { page } = await ask(world, { details: [{ ...PAYMENT, creditor }] });
      expect(page.body).toContain('&lt;img src=x onerror=alert(1)&gt; {amount.value}');
      expect(page.body).not.toContain('<img src=x');
    });
  });

  it('the log has the type, the place and the rule of what is refused, and no value', async () => {
    const before = world.log.length;
    const wrong = [
      { ...PAYMENT, amount: { currency: 'EUR', value: 'all-of-it' } },
      { ...PAYMENT, creditor: undefined },
      { ...PAYMENT, 'a-name-of-theirs': 1 },
    ];
    for (const detail of wrong) {
      const fields = { redirect_uri: SHOP_REDIRECT, scope: undefined, ...asked(detail) };
      expect((await push(world, { client: world.shop, fields })).json.error).toBe(INVALID);
    }
    const lines = world.log.slice(before).filter((line) => line.includes('"route":"/par"'));
    expect(lines.map((line) => JSON.parse(line).reason)).toEqual([
      'payment: it fails at /amount/value by pattern',
      'payment: it fails as a whole by required creditor',
      'payment: it fails as a whole by additionalProperties',
    ]);
    expect(lines.join('')).not.toMatch(/all-of-it|a-name-of-theirs/);
  });

  it('an error is sent to the client and grants nothing', async () => {
    expect(await refusalOf(world, { details: [{ ...PAYMENT, extra: 1 }], scope: 'openid' })).toBe(INVALID);
  });
});
