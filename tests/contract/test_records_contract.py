"""What every store of records promises: a folder, S3, Google Cloud Storage and Azure."""

import pytest

from modelworks.ext.records.stores import BucketRecords, FolderRecords
from modelworks.testing.records import RecordStoreContract

pytestmark = pytest.mark.timeout(900)  # servers come with the first test


@pytest.mark.contract
class TestFolder(RecordStoreContract):
    @pytest.fixture
    def opened(self, tmp_path):
        return lambda: FolderRecords(tmp_path / "records")


@pytest.mark.real
@pytest.mark.parametrize("kind", ["s3", "gcs", "azure"])
class TestBucket(RecordStoreContract):
    @pytest.fixture
    def opened(self, kind, request):
        buckets = request.getfixturevalue(f"{kind}_server")
        where, access = buckets.new(), buckets.access()
        return lambda: BucketRecords(where, access)
