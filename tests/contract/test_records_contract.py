"""What every store of records and feedback promises: a folder, S3, Google Cloud Storage, Azure."""

import pytest

from modelworks.ext.records.stores import (
    BucketFeedback,
    BucketRecords,
    FolderFeedback,
    FolderRecords,
)
from modelworks.testing.records import FeedbackStoreContract, RecordStoreContract

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


@pytest.mark.contract
class TestFolderOfFeedback(FeedbackStoreContract):
    @pytest.fixture
    def opened(self, tmp_path):
        return lambda: FolderFeedback(tmp_path / "feedback")


@pytest.mark.real
class TestBucketOfFeedback(FeedbackStoreContract):
    @pytest.fixture
    def opened(self, s3_server):
        where, access = s3_server.new(), s3_server.access()
        return lambda: BucketFeedback(where, access)
