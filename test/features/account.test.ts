/** The account page: what it says of each app, above all of authorization details (RFC 9396), and that it ends with them. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { rulesFor } from '../../src/cli/workplace.ts';
import { changeClient } from '../../src/operator/clients.ts';
import { findClientRecord } from '../../src/postgres/clients.pg.ts';
import { oauth21 } from '../../src/protocol/profile.ts';
import { caughtUp } from '../support/attack-aftermath.ts';
import { formTo, post, TestBrowser, type Visit } from '../support/browser.ts';
import {
  ask,
  codeFor,
  PAYMENT,
  type PaymentsWorld,
  PRINT,
  refreshShop,
  SHOP_REDIRECT,
  startPaymentsWorld,
} from '../support/payments-world.ts';

describe('authorization details on the account page', () => {
  let world: PaymentsWorld;
  beforeAll(async () => {
    world = await startPaymentsWorld();
  });
  afterAll(() => world.close());

  const PAY = 'Pay 123.50 EUR to Merchant A';
  const PRINT_ALBUM = 'Print your album “Lisbon”actions: list, order';

  /** What an app may do, as a person reads it. */
  const accessOf = ({ body }: Visit, app = 'Shop') => {
    const row = body.split('<li class="app">').find((part) => part.includes(`<bdi>${app}</bdi>`)) ?? '';
    return [...row.matchAll(/<li>([\s\S]*?)<\/li>/g)].map(([, item = '']) => item.replace(/<[^>]+>/g, '').trim());
  };
  const account = (browser: TestBrowser) => browser.visit('/account');
  const removeShop = async (browser: TestBrowser) =>
    browser.submit(formTo(await account(browser), '/account/access'), { client_id: 'shop' });

  /** As an operator does, and every node knows. */
  const changeShop = async (changes: Record<string, unknown>) => {
    const { sql } = world.running.database;
    const record = await findClientRecord(sql, 'shop');
    if (!record) throw new Error('no client');
    const rules = rulesFor(sql, oauth21, world.running.passwords, world.context);
    await changeClient(sql, record, changes, rules, world.clock.now());
    await caughtUp();
  };
  /** A browser in which the shop was allowed this, and the shop's tokens. */
  const allowed = async (asking: Parameters<typeof codeFor>[1]) => {
    const { code, verifier, browser } = await codeFor(world, asking);
    const fields = { grant_type: 'authorization_code', code, code_verifier: verifier, redirect_uri: SHOP_REDIRECT };
    const { json } = await post(`${world.issuer}/token`, fields, { basic: world.shop });
    return { browser, refreshToken: json.refresh_token };
  };

  it('are shown in the words they were allowed in, beside the scopes of their API', async () => {
    const { browser } = await codeFor(world, {
      details: [{ ...PAYMENT, reference: 'Invoice 7' }, PRINT],
      scope: 'payments.read',
    });
    const page = await account(browser);
    expect(accessOf(page)).toEqual([`${PAY}reference: Invoice 7`, 'See your payments', PRINT_ALBUM]);
    expect(page.body).toContain('<bdi class="strong">Merchant A</bdi>');
    await removeShop(browser);
  });

  it('of several grants are all shown, the same ones once', async () => {
    const { browser } = await codeFor(world, { details: [PAYMENT] });
    await codeFor(world, { details: [PRINT, PAYMENT], browser });
    expect(accessOf(await account(browser)).sort()).toEqual([PAY, PRINT_ALBUM]);
    await removeShop(browser);
  });

  it('that were asked for and not allowed are not shown', async () => {
    const { browser } = await codeFor(world, { details: [PAYMENT] });
    await ask(world, { details: [PRINT], browser });
    expect(accessOf(await account(browser))).toEqual([PAY]);
    await removeShop(browser);
  });

  it('are another person’s never', async () => {
    const { browser } = await codeFor(world, { details: [PAYMENT] });
    const bob = new TestBrowser(world);
    const login = await bob.visit('/login');
    const page = await bob.submit(formTo(login, '/login'), { username: 'bob', password: 'builder' });
    expect(page.url).toContain('/account');
    expect(page.body).not.toContain('Merchant A');
    await removeShop(browser);
  });

  it('are taken back with everything else: the page, and the tokens', async () => {
    const { browser, refreshToken } = await allowed({ details: [PAYMENT] });
    expect((await refreshShop(world, refreshToken)).status).toBe(200);
    const after = await removeShop(browser);
    expect(after.body).toContain('Shop no longer has access.');
    expect(after.body).not.toContain('Merchant A');
    expect((await refreshShop(world, refreshToken)).json.error).toBe('invalid_grant');
    // What is allowed afterwards does not bring the old ones back.
    await codeFor(world, { details: [PRINT], browser });
    expect(accessOf(await account(browser))).toEqual([PRINT_ALBUM]);
    await removeShop(browser);
  });

  it('end on the page when the client gives back its refresh token (RFC 7009)', async () => {
    const { browser, refreshToken } = await allowed({ details: [PAYMENT] });
    expect(accessOf(await account(browser))).toEqual([PAY]);
    await post(`${world.issuer}/revoke`, { token: String(refreshToken) }, { basic: world.shop });
    const page = await account(browser);
    expect(accessOf(page)).toEqual([]);
    expect(page.body).toContain('What you allowed it is over.');
    await removeShop(browser);
  });

  it('end on the page when an operator takes the type from the client', async () => {
    const { browser } = await codeFor(world, { details: [PAYMENT, PRINT] });
    await changeShop({ authorization_details_types: ['photo_print'] });
    expect(accessOf(await account(browser))).toEqual([PRINT_ALBUM]);
    await changeShop({ authorization_details_types: ['payment', 'photo_print'] });
    await removeShop(browser);
  });

  it('end on the page an hour after, where the client has no refresh tokens', async () => {
    await changeShop({ grant_types: ['authorization_code'] });
    const { browser } = await codeFor(world, { details: [PAYMENT], scope: 'payments.read' });
    expect(accessOf(await account(browser))).toEqual([PAY, 'See your payments']);
    world.clock.advance(3600 + 60);
    expect(accessOf(await account(browser))).toEqual(['See your payments']);
  });
});
