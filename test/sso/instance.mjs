// The provider proper. The library cannot change its signing keys while it runs, so new keys mean a
// new instance; all instances share the store, and with it sessions and codes.

import { Provider } from 'oidc-provider';
import { makeConfiguration, PATHS } from './configuration.mjs';
import { makeKeys } from './keys.mjs';

export class TestProvider {
  constructor(issuer) {
    this.issuer = issuer;
    this.generation = 0;
    // By grant, not by subject: the same subject may sign in twice at once with other groups.
    this.groupsOfGrant = new Map();
  }

  /** Replace both signing keys. */
  async rotate() {
    this.generation += 1;
    const keys = await makeKeys(this.generation);
    this.instance = new Provider(this.issuer, makeConfiguration(keys, (context, subject, token) => this.account(subject, token)));
    this.instance.on('server_error', (context, error) => console.error(error));
    this.callback = this.instance.callback();
  }

  async answer(request, response, url) {
    if (url.pathname.startsWith(PATHS.interaction)) await this.finishInteraction(request, response, url);
    else await this.callback(request, response);
  }

  account(subject, token) {
    const groups = this.groupsOfGrant.get(token?.grantId);
    return { accountId: subject, claims: () => ({ sub: subject, ...(groups && { groups }) }) };
  }

  /** What a person would do in forms: the query says who signs in, and that is consented to at once. */
  async finishInteraction(request, response, url) {
    const { instance } = this;
    const { params } = await instance.interactionDetails(request, response);
    const accountId = url.searchParams.get('sub');
    const grant = new instance.Grant({ accountId, clientId: params.client_id });
    grant.addOIDCScope('openid');
    const grantId = await grant.save();
    const groups = url.searchParams.get('groups');
    if (groups !== null) this.groupsOfGrant.set(grantId, groups.split(',').filter(Boolean));
    await instance.interactionFinished(request, response, { login: { accountId }, consent: { grantId } });
  }
}
