import inspect
import logging
import time
from collections import Counter

from odoo import SUPERUSER_ID, api, fields, models

_logger = logging.getLogger(__name__)

BUDGET_S = 20  # no further call is begun later: Odoo ends requests that take too long


class DiscussChannel(models.Model):
    _inherit = "discuss.channel"

    sfu_channel_uuid = fields.Char(index="btree_not_null")

    @api.model
    def _sfu_gateway_rescue(self, message):
        """Return what became of each call, by uuid. A call that failed or was not reached is left out."""
        results = {}
        deadline = time.monotonic() + BUDGET_S
        for uuid in message.uuids:
            if time.monotonic() > deadline:
                break
            try:
                results[uuid] = self._sfu_gateway_rescue_call(uuid, message)
            except Exception:  # one call that cannot be moved must not stop the others
                _logger.exception("SFU gateway: could not move the call with the SFU channel %s", uuid)
        summary = dict(Counter(results.values()))
        _logger.info("SFU gateway: %s calls, reason %s: %s", len(message.uuids), message.reason, summary)
        return results

    def _sfu_gateway_rescue_call(self, uuid, message):
        """Move the call in a transaction of its own, and return `moved`, `kept` or `p2p`.

        A join inserts a session, which takes a KEY SHARE lock on the channel. FOR UPDATE waits for the joins
        that hold it, and READ COMMITTED sees their sessions afterwards, so that they are told as well. A join
        that comes later waits for this transaction; PostgreSQL then makes Odoo run that join again, and it
        reads the new SFU.
        """
        with self.env.registry.cursor() as cr:
            cr.execute("SET TRANSACTION ISOLATION LEVEL READ COMMITTED")
            cr.execute("SET LOCAL lock_timeout = '4s'")  # a join may ask the gateway for 3 s
            cr.execute("SELECT id FROM discuss_channel WHERE sfu_channel_uuid = %s FOR UPDATE", [uuid])
            row = cr.fetchone()
            if not row:
                return "kept"  # ended, moved already, or of another database
            channel = api.Environment(cr, SUPERUSER_ID, {})["discuss.channel"].browse(row[0])
            return channel._sfu_gateway_move(message)

    def _sfu_gateway_move(self, message):
        old_uuid, old_url = self.sfu_channel_uuid, self.sfu_server_url
        self.write({"sfu_channel_uuid": False, "sfu_server_url": False})
        if message.available and len(self.rtc_session_ids) > 1:
            self._sfu_gateway_ask(old_uuid, old_url)
        if self.sfu_channel_uuid:
            return "kept" if self.sfu_channel_uuid == old_uuid else "moved"
        if message.reason == "drain":  # the old SFU still serves
            self.write({"sfu_channel_uuid": old_uuid, "sfu_server_url": old_url})
            return "kept"
        self._sfu_gateway_tell(lambda session: False)
        return "p2p"

    def _sfu_gateway_ask(self, old_uuid, old_url):
        """Let Odoo ask the gateway, as at a join; Odoo itself then tells every member of the new SFU."""
        member = self.rtc_session_ids[0].channel_member_id
        ice_servers = self.env["mail.ice.server"]._get_ice_servers()
        if "force" in inspect.signature(member._join_sfu).parameters:  # since 18.2: moves a call of two, too
            member._join_sfu(ice_servers, force=True)
            return
        member._join_sfu(ice_servers)
        if self.sfu_server_url == old_url and self.sfu_channel_uuid != old_uuid:
            # Clients of 17.0 and of older 18.0 ignore a server whose URL is the one they have.
            self._sfu_gateway_tell(lambda session: False)
            self._sfu_gateway_tell(lambda session: member._get_rtc_server_info(session, ice_servers))

    def _sfu_gateway_tell(self, server_info_of):
        kind = "discuss.channel.rtc.session/sfu_hot_swap"
        for session in self.rtc_session_ids:
            payload = {"serverInfo": server_info_of(session)}
            if hasattr(session, "_bus_send"):
                session._bus_send(kind, payload)
            else:  # 17.0
                self.env["bus.bus"]._sendone(session.guest_id or session.partner_id, kind, payload)
