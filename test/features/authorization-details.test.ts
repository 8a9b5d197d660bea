/** Authorization details: how types are registered, what people read, how they travel. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { decide, post, responseOf, signIn, TestBrowser } from '../support/browser.ts';
import {
  ask,
  asked,
  PAYMENT,
  PAYMENT_TYPE,
  PAYMENTS,
  type PaymentsWorld,
  PRINT,
  redeemShop,
  refreshShop,
  startPaymentsWorld,
} from '../support/payments-world.ts';
import { sendObject, startSigningWorld } from '../support/request-objects.ts';
import { introspect } from '../support/world.ts';

describe('authorization details', () => {
  let world: PaymentsWorld;
  beforeAll(async () => {
    world = await startPaymentsWorld();
  });
  afterAll(() => world.close());

  /** The list items of a page as text. */
  const itemsOf = (body: string) =>
    [...body.matchAll(/<li>([\s\S]*?)<\/li>/g)].map(([, item = '']) => item.replace(/<[^>]+>/g, '').trim());

  it('are read in the words of their type, and what has no words is listed by name', async () => {
    const { page } = await ask(world, { details: [{ ...PAYMENT, reference: 'Invoice 7', instalments: 3 }, PRINT] });
    expect(itemsOf(page.body)).toEqual([
      'Pay 123.50 EUR to Merchant Areference: Invoice 7instalments: 3',
      'Print your album “Lisbon”actions: list, order',
    ]);
    expect(page.body).toContain('<bdi class="strong">Merchant A</bdi>');
  });

  it('are not granted when the person says no', async () => {
    const { page, browser } = await ask(world, { details: [PAYMENT] });
    expect(responseOf(await decide(browser, page, 'deny')).get('error')).toBe('access_denied');
  });

  it('are asked for even where everything else was allowed before', async () => {
    const scope = 'openid payments.read';
    const { page, browser } = await ask(world, { scope });
    await decide(browser, page);
    expect((await ask(world, { scope, browser })).page.location).toContain('code=');
    expect((await ask(world, { scope, browser, details: [PAYMENT] })).page.url).toContain('/consent');
  });

  it('go on through refreshing', async () => {
    const { json } = await redeemShop(world, { details: [PAYMENT] });
    const refreshed = await refreshShop(world, json.refresh_token);
    expect(refreshed.json.authorization_details).toEqual([PAYMENT]);
  });

  it('of a token request say which API is meant', async () => {
    const { json } = await redeemShop(world, { details: [PAYMENT, PRINT], scope: 'photos.read' }, asked(PAYMENT));
    expect(json).toMatchObject({ authorization_details: [PAYMENT] });
    expect(await introspect(world, String(json.access_token), world.paymentsApi)).toMatchObject({ aud: PAYMENTS });
  });

  it('may be asked for by a client that acts for itself', async () => {
    const fields = { grant_type: 'client_credentials', ...asked(PAYMENT) };
    const { json } = await post(`${world.issuer}/token`, fields, { basic: world.robot });
    expect(json).toMatchObject({ authorization_details: [PAYMENT] });
    expect(await introspect(world, String(json.access_token), world.paymentsApi)).toMatchObject({
      sub: 'robot',
      authorization_details: [PAYMENT],
    });
  });

  it('stand in request objects as JSON', async () => {
    const signing = await startSigningWorld({ authorization_details_types: ['payment'] });
    try {
      await signing.resource({
        resource: PAYMENTS,
        name: 'Payments',
        scopes: {},
        authorization_details_types: { payment: PAYMENT_TYPE },
      });
      const send = async (authorization_details: unknown) => {
        const browser = new TestBrowser(signing);
        const object = await signing.key.sign(signing.claims({ authorization_details, scope: undefined }));
        const first = await sendObject(browser, object);
        return first.location?.startsWith('/') ? signIn(browser, await browser.visit(first.location)) : first;
      };
      expect((await send([PAYMENT])).body).toContain('Merchant A');
      expect((await send(JSON.stringify([PAYMENT]))).body).toContain('Merchant A');
      expect(responseOf(await send([{ ...PAYMENT, extra: 1 }])).get('error')).toBe('invalid_authorization_details');
    } finally {
      await signing.close();
    }
  });

  describe('types', () => {
    const member = (schema: object) => ({
      description: 'Do it',
      schema: { type: 'object', properties: { member: schema }, additionalProperties: false },
    });
    let number = 0;
    const register = (types: object) => {
      number += 1;
      const resource = `https://api-${number}.example`;
      return world.resource({ resource, name: 'Api', scopes: {}, authorization_details_types: types });
    };

    it('belong to one API', async () => {
      await expect(register({ payment: PAYMENT_TYPE })).rejects.toThrow('a type belongs to another resource already');
    });

    it.each<[string, object, string]>([
      [
        'an open object',
        { ...PAYMENT_TYPE, schema: { type: 'object', properties: {} } },
        'additionalProperties: false',
      ],
      ['an open object inside', member({ type: 'object' }), 'additionalProperties: false'],
      ['something of any type', member({}), 'leaves open the type'],
      ['a list of anything', member({ type: 'array' }), 'needs items'],
      ['no object', { description: 'x', schema: { type: 'string' } }, 'must be of type object'],
      ['a reference', member({ $ref: 'https://evil.example/schema' }), '$ref'],
      [
        'a pattern for names',
        member({ type: 'object', patternProperties: {}, additionalProperties: false }),
        'patternP',
      ],
      ['a pattern that searches', member({ type: 'string', maxLength: 99, pattern: '^(a+)+$' }), 'pattern'],
      ['three repetitions', member({ type: 'string', maxLength: 99, pattern: '^a*a*a*$' }), 'pattern'],
      ['no anchor', member({ type: 'string', maxLength: 99, pattern: 'a*b' }), 'pattern'],
      ['a pattern for texts of any length', member({ type: 'string', pattern: '^a*$' }), 'maxLength'],
      ['an unknown type', member({ type: 'decimal' }), 'not a JSON Schema'],
      [
        'locations of its own',
        {
          ...member({ type: 'string' }),
          schema: { type: 'object', properties: { locations: { type: 'string' } }, additionalProperties: false },
        },
        'locations',
      ],
      ['words for a member it does not have', { ...PAYMENT_TYPE, description: 'Pay {price}' }, 'price'],
      ['words for a member that may be absent', { ...PAYMENT_TYPE, description: 'For {reference}' }, 'reference'],
      ['words for an object', { ...PAYMENT_TYPE, description: 'Pay {amount}' }, 'is an object'],
      ['half a pair of braces', { ...PAYMENT_TYPE, description: 'Pay {creditor' }, 'brace'],
      ['no words', { schema: PAYMENT_TYPE.schema }, 'description'],
    ])('with %s are refused', async (_what, type, why) => {
      await expect(register({ sample: type })).rejects.toThrow(
        new RegExp(`authorization_details_types.*${why.replace('$', '\\$')}`),
      );
    });

    it.each<[string, object, unknown, boolean]>([
      ['a pattern', { type: 'string', maxLength: 34, pattern: '^[A-Z]{2}[0-9]{2}[A-Z0-9]+$' }, 'DE02X', true],
      ['a pattern', { type: 'string', maxLength: 34, pattern: '^[A-Z]{2}[0-9]{2}[A-Z0-9]+$' }, 'de02x', false],
      ['a choice', { oneOf: [{ type: 'string' }, { type: 'integer' }] }, 7, true],
      ['a choice', { oneOf: [{ type: 'string' }, { type: 'integer' }] }, true, false],
      ['a list', { type: 'array', items: { type: 'integer' }, maxItems: 2 }, [1, 2], true],
      ['a list', { type: 'array', items: { type: 'integer' }, maxItems: 2 }, [1, 2, 3], false],
    ])('may have %s: to %j the value %j is good: %s', async (_what, schema, value, accepted) => {
      number += 1;
      const name = `sample-${number}`;
      await register({ [name]: member(schema) });
      const types = ['payment', name];
      const robot = await world.client({
        grant_types: ['client_credentials'],
        scope: '',
        authorization_details_types: types,
      });
      const fields = { grant_type: 'client_credentials', ...asked({ type: name, member: value }) };
      // The server hears of a new type within a second.
      const status = async () => (await post(`${world.issuer}/token`, fields, { basic: robot })).status;
      await expect.poll(status, { timeout: 10_000 }).toBe(accepted ? 200 : 400);
    });
  });
});
