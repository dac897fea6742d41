import pytest
from commands.dispatch import dispatch
from tests import cast
from gateway.services import keys
from models import database as db
def test_x(store):
    who=cast.sender()
    _, key = db.in_transaction(lambda tx: keys.create_key(tx, account_id=who.owner.account_id))
    a=dispatch({"command":"EmailGateway.AddAPI","apikey":key,"domainid":who.domain.id,"description":"\ud800"},ip="127.0.0.1",request_id="x")
    print(a); assert a.status==200
